"""Scripted replies: which entry answers, groups, limits, and no torch."""

from __future__ import annotations

import subprocess
import sys

import pytest

from selfevo.codec import ByteCodec
from selfevo.engines import Scripted
from selfevo.errors import EngineError, UserError
from selfevo.models import Scripted as ScriptedModel
from selfevo.protocols import GenerateRequest, Sampling, ScoreRequest
from selfevo.records import Message

CODEC = ByteCodec()


def ask(text, seed=0, **sampling):
    return GenerateRequest(CODEC.open([Message("user", text)]), seed, Sampling(**sampling))


def texts(engine, *requests):
    return [c.text for c in engine.generate(requests)]


def test_the_first_entry_whose_conditions_all_hold_answers():
    engine = Scripted(
        {
            "2+2": "four",
            "sum": {"contains": "+", "matches": r"\d\d", "replies": ["big"]},
            "judged": {"policy": "judge", "replies": "good"},
            "rest": {"replies": "?"},
        }
    )
    assert texts(engine, ask("2+2=33"), ask("what is 10+1"), ask("1+1")) == ["four", "big", "?"]
    engine.load(ScriptedModel().load("judge"))
    assert texts(engine, ask("1+1")) == ["good"]


def test_a_group_cycles_through_the_replies_in_order():
    engine = Scripted(["a", "b", "c"])
    assert texts(engine, ask("x"), ask("y"), ask("x"), ask("x"), ask("x"), ask("y")) == ["a", "a", "b", "c", "a", "b"]
    assert texts(engine, ask("x")) == ["a"]


def test_choosing_by_seed_ignores_order_and_reaches_every_reply():
    engine = Scripted(["a", "b", "c"], choose="seed")
    requests = [ask("x", seed) for seed in range(40)]
    got = texts(engine, *requests)
    assert texts(engine, *reversed(requests)) == got[::-1]
    assert set(got) == {"a", "b", "c"}


def test_a_reply_ends_with_the_end_token_unless_it_is_cut():
    whole, cut, stopped = Scripted(["a\nb é"]).generate([ask("x"), ask("y", max_tokens=3), ask("z", stop=("\n",))])
    assert (whole.text, whole.finish, whole.tokens[-1]) == ("a\nb é", "stop", CODEC.END)
    assert (cut.text, cut.finish, cut.tokens) == ("a\nb", "length", tuple(b"a\nb"))
    assert (stopped.text, stopped.finish, stopped.tokens) == ("a\n", "stop", tuple(b"a\n"))
    assert whole.logprobs is None


def test_replies_from_a_file_equal_the_same_inline(tmp_path):
    file = tmp_path / "replies.yaml"
    file.write_text("'2+2': [four, vier]\nother:\n  matches: '[0-9]'\n  replies: number\n")
    inline = Scripted({"2+2": ["four", "vier"], "other": {"matches": "[0-9]", "replies": "number"}})
    asked = [ask("2+2"), ask("2+2"), ask("7")]
    assert Scripted(str(file)).generate(asked) == inline.generate(asked)


def test_an_unanswered_prompt_is_named_with_the_nearest_entry():
    with pytest.raises(EngineError, match=r"no reply fits request 1, 'user: add 2\+3'; did you mean 'add 2\+2'"):
        Scripted({"add 2+2": "4"}).generate([ask("add 2+2"), ask("add 2+3")])


@pytest.mark.parametrize(
    ("replies", "message"),
    [
        ("no-such-file.yaml", "no file 'no-such-file.yaml'"),
        ([], "one or more texts"),
        ({}, "there are no replies"),
        ({"a": {"contain": "x", "replies": "y"}}, "engine.replies.a: unknown key 'contain'; did you mean 'contains'"),
        ({"a": {"contains": "x"}}, "engine.replies.a: has no 'replies'"),
        ({"a": {"matches": "(", "replies": "y"}}, r"'\(' is not a regular expression"),
        ([1, 2], "one or more texts"),
    ],
)
def test_wrong_replies_are_one_line(replies, message):
    with pytest.raises(UserError, match=message) as caught:
        Scripted(replies)
    assert "\n" not in str(caught.value)


def test_scripted_replies_cannot_be_scored():
    with pytest.raises(EngineError, match="no distribution"):
        Scripted(["a"]).score([ScoreRequest((1,), (2,))])


def test_a_prompt_beyond_the_limit_is_named():
    engine = Scripted(["a"])
    engine.load(ScriptedModel(limit=8).load("solver"))
    with pytest.raises(EngineError, match="request 0: prompt longer than the context"):
        engine.generate([ask("longer than eight")])


def test_a_scripted_run_imports_no_torch():
    code = (
        "import sys; from selfevo.engines import Native, Scripted; from selfevo.models import Scripted as M\n"
        "Native(); p = M().load('a'); e = Scripted(['x']); e.load(p)\n"
        "from selfevo.protocols import GenerateRequest; e.generate([GenerateRequest(p.codec.fragment('hi'), 0)])\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_byte_codec_round_trips_and_frames_turns():
    assert CODEC.decode(CODEC.fragment("añ\n✓")) == "añ\n✓"
    first = CODEC.open([Message("system", "s"), Message("user", "u")])
    assert CODEC.decode(first) == "system: s\nuser: u\nassistant: "
    follow = CODEC.follow([Message("user", "v")], ended=True)
    assert CODEC.decode(follow) == "\nuser: v\nassistant: "
    assert CODEC.follow([Message("user", "v")], ended=False) == (CODEC.END, *follow)
    assert CODEC.ended((97, CODEC.END))
    assert not CODEC.ended((97,))
    assert not CODEC.ended(())
