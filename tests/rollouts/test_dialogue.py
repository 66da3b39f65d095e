"""What a conversation is made of: ids that only grow, turns that say where they came from, and a cost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfevo.errors import EngineError, UserError
from selfevo.records import Lineage, Message, Task, Turn


def flat(turns):
    return tuple(i for t in turns for i in t.tokens)


def test_ids_of_two_turns_are_opening_sampled_follow_sampled(bench, task, codec, run):
    b = bench()
    talk = b.open(task)
    first = run(talk.reply())
    heard = talk.hear("why?")
    second = run(talk.reply())
    opening = codec.open([Message("user", "2+2?")])
    assert heard.tokens == codec.follow([Message("user", "why?")], True)
    assert first.context == opening
    assert second.context == opening + first.tokens + heard.tokens
    assert talk.context == opening + flat(talk.turns)
    assert [t.source for t in talk.turns] == ["policy", "env", "policy"]


def test_sampled_ids_are_kept_even_where_their_text_would_tokenise_otherwise(bench, task, codec, run):
    odd = (0xE2, 0x82, codec.END)  # two thirds of a euro sign: decoding and encoding again gives three other ids
    b = bench()

    async def generate(context, sampling, key):
        from selfevo.protocols import Completion

        return Completion(odd, (-1.0, -1.0, -1.0), codec.decode(odd), "stop")

    b.voice = generate
    talk = b.open(task)
    run(talk.reply())
    talk.hear("go on")
    second = run(talk.reply())
    assert codec.fragment(talk.turns[0].text) != odd[:2]
    opening = codec.open([Message("user", "2+2?")])
    assert second.context[len(opening) : len(opening) + 3] == odd


def test_a_reply_cut_at_its_length_is_closed_by_the_codec_and_an_ended_one_is_not(bench, voice, task, codec, run):
    for finish, ended in (("length", False), ("stop", True)):
        talk = bench(voice(finish=finish)).open(task)
        run(talk.reply())
        assert talk.hear("more").tokens == codec.follow([Message("user", "more")], ended)


def test_a_stop_string_only_pauses_a_turn(bench, task, codec, run):
    from selfevo.protocols import Completion

    async def generate(context, sampling, key):
        return Completion(codec.fragment("<call>"), None, "<call>", "stop")

    b = bench()
    b.voice = generate
    talk = b.open(task)
    run(talk.reply())
    forced = talk.force("<result>", "tool")
    assert forced.tokens == codec.fragment("<result>")
    assert talk.hear("x").tokens == codec.follow([Message("user", "x")], False)


def test_forcing_text_after_an_ended_turn_is_refused(bench, task, run):
    talk = bench().open(task)
    run(talk.reply())
    with pytest.raises(ValueError, match="ended its turn"):
        talk.force("so")


def test_forced_text_is_in_the_context_of_the_reply_and_not_the_policys(bench, task, codec, run):
    talk = bench().open(task)
    talk.force("Sure: ")
    reply = run(talk.reply())
    assert reply.context[-6:] == codec.fragment("Sure: ")
    assert [t.source for t in talk.turns] == ["data", "policy"]


def test_turns_record_version_temperature_and_logprobs(bench, task, run):
    talk = bench().open(task)
    turn = run(talk.reply(temperature=0.3, max_tokens=5))
    assert (turn.version, turn.temperature, turn.finish) == ("solver@000001", 0.3, "stop")
    assert turn.logprobs == (-0.1, -0.2, -0.1 * 3, -0.4)
    assert len(turn.tokens) == 4


def test_overrides_reach_the_engine_and_a_misspelt_one_is_named(bench, task, run):
    b = bench()
    talk = b.open(task)
    run(talk.reply(max_tokens=3))
    assert b.voice.asked[0][1] == replace(b.sampling, max_tokens=3)
    with pytest.raises(UserError, match="'temprature'; did you mean 'temperature'"):
        run(talk.reply(temprature=1.0))


def test_a_reply_never_passes_the_limit(bench, task, codec, run):
    b = bench()
    talk = b.open(task)
    talk.force("x" * (talk.room - 3))
    run(talk.reply())
    assert b.voice.asked[0][1].max_tokens == 3
    talk = b.open(task)
    talk.force("x" * talk.room)
    with pytest.raises(EngineError, match="leaves no room"):
        run(talk.reply())


def test_cost_counts_calls_prompt_and_generated_tokens(bench, task, run):
    talk = bench().open(task)
    first, _, second = run(talk.reply()), talk.hear("?"), run(talk.reply())
    cost = talk.close().cost
    assert cost.calls == 2
    assert cost.prompt_tokens == len(first.context) + len(second.context)
    assert cost.generated_tokens == len(first.tokens) + len(second.tokens) == 8


def test_status_is_truncated_after_a_length_cut_and_finished_otherwise(bench, voice, task, run):
    for finish, status in (("length", "truncated"), ("stop", "finished")):
        talk = bench(voice(finish=finish)).open(task)
        run(talk.reply())
        assert talk.close().status == status
    talk = bench().open(task)
    assert talk.close(error="engine died").status == "error"
    assert bench().open(task).close("pruned").status == "pruned"


def test_a_closed_dialogue_says_no_more(bench, task, run):
    talk = bench().open(task)
    trajectory = talk.close(keys={"seat": "1"})
    assert trajectory.keys == {"group": "g0", "seat": "1"}
    assert trajectory.memories == {"skills": "skills@000000"}
    with pytest.raises(RuntimeError, match="closed"):
        talk.close()
    with pytest.raises(RuntimeError, match="closed"):
        run(talk.reply())


def test_a_fork_shares_its_prefix_and_pays_only_for_its_own(bench, task, run):
    b = bench()
    talk = b.open(task)
    run(talk.reply())
    talk.hear("again")
    child = talk.fork()
    early = talk.fork(at=1)
    run(talk.reply())
    run(child.reply())
    parent, kid, first = talk.close(), child.close(), early.close()
    assert kid.parent == first.parent == parent.id
    assert kid.turns[:2] == parent.turns[:2]
    assert kid.turns[2].context == parent.turns[2].context
    assert kid.prefix == len(flat(parent.turns[:2]))
    assert first.prefix == len(flat(parent.turns[:1]))
    assert kid.cost.calls == 1
    assert len({parent.id, kid.id, first.id}) == 3
    with pytest.raises(ValueError, match="cannot fork at turn 9"):
        talk.fork(at=9)


def test_draws_of_one_episode_never_share_a_key(bench, task, run):
    b = bench()
    talk = b.open(task)
    run(talk.reply())
    one, two = talk.fork(0), talk.fork(0)
    grandchild = one.fork()
    for t in (talk, one, two, grandchild):
        run(t.reply())
    keys = [key for _, _, key in b.voice.asked]
    assert len(set(keys)) == len(keys) == 5
    assert keys[0] == ("solver", 0)


def test_resuming_continues_the_given_turns_at_no_cost(bench, task, codec, run):
    b = bench()
    talk = b.open(task)
    run(talk.reply())
    talk.hear("hm")
    old = talk.close()
    resumed = b.open(Task(task.vars, turns=old.turns, lineage=Lineage("follow", old.id)))
    run(resumed.reply())
    new = resumed.close()
    assert new.turns[:2] == old.turns
    assert new.parent == old.id
    assert new.prefix == len(flat(old.turns))
    assert new.cost.calls == 1
    assert new.turns[2].context == codec.open([Message("user", "2+2?")]) + flat(old.turns)


def test_a_turn_resumed_under_another_prompt_loses_its_logprobs(bench, task, run):
    b = bench()
    talk = b.open(task)
    run(talk.reply())
    old = talk.close()
    resumed = b.open(Task({"question": "3+3?"}, turns=old.turns)).close()
    assert resumed.turns[0].tokens == old.turns[0].tokens
    assert resumed.turns[0].logprobs is None
    assert resumed.turns[0].context != old.turns[0].context


def test_turns_given_as_text_are_tokenised_once(bench, task, codec, run):
    turns = (Turn("policy", "7", finish="stop"), Turn("env", "wrong"))
    talk = bench().open(Task(task.vars, turns=turns))
    assert talk.turns[0].tokens == codec.fragment("7")
    assert talk.turns[1].tokens == codec.follow([Message("user", "wrong")], False)


def test_engines_without_ids_are_read_through_the_codec_but_leave_no_trainable_ids(bench, voice, task, codec, run):
    b = bench(voice(ids=False))
    talk = b.open(task)
    first = run(talk.reply())
    talk.hear("why?")
    run(talk.reply())
    assert first.tokens == ()
    assert codec.decode(b.voice.asked[1][0]).startswith("user: 2+2?\nassistant: one")
    assert talk.close().length == 0
