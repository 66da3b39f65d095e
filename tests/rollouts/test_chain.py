"""Chains of solutions, and conversations recorded reply by reply."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

from selfevo import spec
from selfevo.errors import SpecErrors, UserError
from selfevo.records import Task
from selfevo.rollouts import Chain, MultiTurn, Single
from selfevo.rollouts.by_reply import by_reply


class Seat:
    """Opens the bench's dialogue and remembers with which prompt and variables."""

    def __init__(self, bench, codec=None):
        self.bench, self.opened = bench, []
        self.bench.codec = codec or bench.codec

    def open(self, task, prompt=None, **variables):
        self.opened.append((prompt, variables))
        return self.bench.open(task, prompt, **variables)


@pytest.fixture
def seat(bench):
    return Seat(bench())


def test_a_chain_without_hops_is_single(seat, bench, task, ctx, run):
    [single] = run(Single().run(task, {"solver": bench()}, None, ctx))
    [t] = run(Chain(0, verify="verify").run(task, {"solver": seat}, None, ctx))
    assert replace(t, keys={}) == replace(single, keys={})
    assert t.final and t.keys["hop"] == "0"


def test_every_call_is_a_fresh_conversation_that_shows_the_last_solution_and_its_critique(seat, task, ctx, run):
    chain = run(Chain(2, verify="verify").run(task, {"solver": seat}, None, ctx))
    assert [t.text for t in chain] == ["one", "two", "three", "four", "one"]
    assert [(t.keys.get("hop"), t.keys.get("check"), t.final) for t in chain] == [
        ("0", None, False), (None, "0", False), ("1", None, False), (None, "1", False), ("2", None, True)
    ]  # fmt: skip
    assert seat.opened == [
        (None, {}),
        ("verify", {"response": "one"}),
        ("revise", {"response": "one", "feedback": "two"}),
        ("verify", {"response": "three"}),
        ("revise", {"response": "three", "feedback": "four"}),
    ]
    assert all(len(t.turns) == 1 and t.prefix == 0 for t in chain)
    a, b, c, d, e = (t.id for t in chain)
    assert [t.parent for t in chain] == [None, a, a, c, c]
    keys = [key for _, _, key in seat.bench.voice.asked]
    assert len(set(keys)) == len(keys)  # no two draws share a seed
    assert len({b, d, e}) == 3


def test_without_a_critique_the_given_words_stand_in_for_it(seat, task, ctx, run):
    chain = run(Chain(1, variables={"feedback": "again"}).run(task, {"solver": seat}, None, ctx))
    assert [t.keys["hop"] for t in chain] == ["0", "1"]
    assert seat.opened[1] == ("revise", {"feedback": "again", "response": "one"})


def test_thinking_is_forgotten_between_calls(bench, voice, task, ctx, run):
    seat = Seat(bench(voice(["<t>long\nago</t> 5", "6"])))
    run(Chain(1, forget="<t>.*?</t>").run(task, {"solver": seat}, None, ctx))
    assert seat.opened[1][1]["response"] == "5"


def test_a_solution_that_leaves_no_room_ends_its_chain(bench, task, ctx, run):
    class Growing(Seat):
        def open(self, task, prompt=None, **variables):
            grown = Task({"question": "x" * 400}) if prompt else task
            return self.bench.open(grown, prompt, **variables)

    [t] = run(Chain(3).run(task, {"solver": Growing(bench())}, None, ctx))
    assert (t.status, t.final, t.text) == ("truncated", True, "one")


def test_another_seat_may_criticise(seat, bench, task, ctx, run):
    judge = Seat(bench(name="judge"))
    chain = run(Chain(1, verify="verify", role="solver", critic="judge").run(task, {"solver": seat, "judge": judge}, None, ctx))
    assert [t.role for t in chain] == ["solver", "judge", "solver"]


@pytest.mark.parametrize("bad", [{"hops": -1}, {"hops": 1, "critic": "judge"}, {"hops": 1, "forget": "("}])
def test_chains_that_cannot_be_are_refused(bad):
    with pytest.raises(UserError, match="Chain"):
        Chain(**bad)


def test_each_reply_is_a_trajectory_that_shares_what_came_before(bench, task, ctx, run):
    [whole] = run(MultiTurn(3, follow_up="again").run(task, {"solver": bench()}, None, ctx))
    replies = run(MultiTurn(3, follow_up="again", each=True).run(task, {"solver": bench()}, None, ctx))
    assert [t.text for t in replies] == ["one", "two", "three"]
    assert [(t.keys["hop"], t.final) for t in replies] == [("0", False), ("1", False), ("2", True)]
    assert replies[-1].turns == whole.turns  # the same draws
    for before, after in pairwise(replies):
        assert after.parent == before.id
        assert after.turns[: len(before.turns)] == before.turns
        assert after.prefix == sum(len(t.tokens) for t in before.turns)
    costs = [(t.cost.prompt_tokens, t.cost.generated_tokens, t.cost.calls) for t in replies]
    assert tuple(map(sum, zip(*costs, strict=True))) == (whole.cost.prompt_tokens, whole.cost.generated_tokens, whole.cost.calls)
    assert by_reply(replace(whole, turns=())) == [replace(whole, turns=())]


def test_what_is_said_between_replies_may_name_the_task(bench, task, ctx, run):
    [t] = run(MultiTurn(2, follow_up="again: {question}").run(task, {"solver": bench()}, None, ctx))
    assert t.turns[1].text == "again: 2+2?"
    with pytest.raises(UserError, match=r"'questoin'.*did you mean 'question'"):
        run(MultiTurn(2, follow_up="{questoin}").run(task, {"solver": bench()}, None, ctx))
    with pytest.raises(UserError, match="no template"):
        MultiTurn(2, follow_up="{question")


def test_a_prompt_that_does_not_exist_is_found_before_the_start():
    with pytest.raises(SpecErrors, match="no prompt is named 'verfy'; did you mean 'verify'"):
        spec.read(["rollout=chain", "rollout.verify=verfy"])
