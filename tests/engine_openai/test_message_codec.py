"""The codec of an endpoint's policy gives back the messages of any conversation, however it came about."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from endpoint_asks import CODEC
from hypothesis import given
from hypothesis import strategies as st

from selfevo.codec import ByteCodec
from selfevo.endpoint_model import MessageCodec
from selfevo.errors import UserError
from selfevo.protocols import Completion, Sampling
from selfevo.records import Lineage, Message, Task
from selfevo.rollouts import Talk

ROLES = st.sampled_from(sorted(MessageCodec.MARKERS))
MESSAGES = st.lists(st.builds(Message, ROLES, st.text()), max_size=4)
ROUNDS = st.lists(st.tuples(st.text(min_size=1), st.booleans(), st.builds(Message, ROLES, st.text())), max_size=4)
"""What the assistant says, whether it ends its turn, and what it hears then."""


def talk(opening: list[Message], replies: list[tuple[str, bool]], task: Task | None = None) -> Talk:
    """A dialogue whose replies are given, as the engine returns them."""
    said = iter(replies)
    ids = itertools.count()

    async def generate(context: object, sampling: object, key: object) -> Completion:
        text, ends = next(said)
        return Completion((*CODEC.fragment(text), *(CODEC.closing if ends else ())), None, text, "stop" if ends else "length")

    return Talk(
        codec=CODEC, task=task or Task({"question": "q"}), context=CODEC.open(opening), role="judge", policy="judge@000000",
        sampling=Sampling(), generate=generate, new_id=lambda: f"t{next(ids)}", episode="e",
    )  # fmt: skip


def played(opening: list[Message], rounds: list[tuple[str, bool, Message]]) -> tuple[Talk, list[Message]]:
    """A dialogue played through, and the messages it consists of."""
    dialogue = talk(opening, [(text, ends) for text, ends, _ in rounds])
    messages = list(opening)
    for text, _, heard in rounds:
        asyncio.run(dialogue.reply())
        dialogue.hear(heard.content, role=heard.role)
        messages += [Message("assistant", text), heard]
    return dialogue, messages


@given(MESSAGES)
def test_an_opening_is_its_messages_and_an_empty_reply(messages: list[Message]) -> None:
    assert CODEC.messages(CODEC.open(messages)) == [*messages, Message("assistant", "")]


@given(MESSAGES, ROUNDS, st.text())
def test_a_dialogue_is_its_messages_and_what_the_reply_begins_with(opening, rounds, begun) -> None:
    dialogue, messages = played(opening, rounds)
    dialogue.force(begun)
    assert CODEC.messages(dialogue.context) == [*messages, Message("assistant", begun)]


@given(MESSAGES, ROUNDS, st.text())
def test_a_resumed_dialogue_and_a_fork_hold_the_messages_of_the_first(opening, rounds, begun) -> None:
    dialogue, messages = played(opening, rounds)
    resumed = talk(opening, [], Task({"question": "q"}, turns=dialogue.turns, lineage=Lineage("branch", "t0")))
    child = dialogue.fork()
    child.force(begun)
    assert CODEC.messages(resumed.context) == [*messages, Message("assistant", "")]
    assert CODEC.messages(child.context) == [*messages, Message("assistant", begun)]


@given(st.text())
def test_text_comes_back_and_is_never_a_frame(text: str) -> None:
    ids = CODEC.fragment(text)
    assert CODEC.decode((*ids, *CODEC.closing)) == text
    assert all(token < CODEC.END for token in ids)


def test_only_the_end_token_ends_a_reply() -> None:
    assert CODEC.ended((*CODEC.fragment("a"), *CODEC.closing))
    assert not CODEC.ended(CODEC.fragment("a"))
    assert not CODEC.ended(())


USER = CODEC.open([Message("user", "x")])


@pytest.mark.parametrize("ids", [
    (),
    ByteCodec().open([Message("user", "hello")]),                      # no marker anywhere
    (5, *USER),                                                        # text before the first message
    (*USER[:-1], 5, USER[-1]),                                         # text between two
    (*USER, *USER),                                                    # a message inside another
    (*USER, CODEC.END, CODEC.END),                                     # two ends
    (*USER, CODEC.END),                                                # nobody is to speak
    (*USER[:-1], CODEC.MARKERS["user"]),                               # the user is to speak
    (999, 5, CODEC.END, CODEC.MARKERS["assistant"]),                   # no such marker
])  # fmt: skip
def test_ids_that_are_no_conversation_are_refused(ids: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="the context "):
        CODEC.messages(ids)


def test_a_role_without_a_marker_and_half_a_character_are_one_line() -> None:
    with pytest.raises(UserError, match="a message of role 'assistent': no such chat role; did you mean 'assistant'"):
        CODEC.open([Message("assistent", "x")])
    with pytest.raises(UserError, match=r"half a character \(U\+D83D at 1\)"):
        CODEC.fragment("a\ud83d")


def test_a_character_cut_in_two_is_marked_and_takes_nothing_with_it() -> None:
    assert CODEC.decode(CODEC.fragment("aß")[:-1]) == "a\ufffd"
