"""Episodes: one reply, several replies, an environment."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from selfevo.errors import UserError
from selfevo.rollouts import MultiTurn, Single


@dataclass
class Countdown:
    """Over after `steps` actions; pays 1 for each and 10 at the end."""

    steps: int = 2
    actions: list[str] = field(default_factory=list)
    seed: int = -1

    def start(self, task, seed):
        self.seed = seed
        return "ready"

    def step(self, action):
        self.actions.append(action)
        done = len(self.actions) >= self.steps
        return f"seen {action}", done, {"step": 1.0, **({"win": 10.0} if done else {})}


def test_single_is_one_reply_to_the_opening(bench, task, ctx, run):
    [t] = run(Single().run(task, {"solver": bench()}, None, ctx))
    assert [turn.text for turn in t.turns] == ["one"]
    assert (t.role, t.episode, t.status) == ("solver", "e0", "finished")


def test_multi_turn_with_one_turn_is_single(bench, task, ctx, run):
    single = run(Single().run(task, {"solver": bench()}, None, ctx))
    assert run(MultiTurn(max_turns=1, follow_up="again").run(task, {"solver": bench()}, None, ctx)) == single
    assert run(MultiTurn(max_turns=5).run(task, {"solver": bench()}, None, ctx)) == single


def test_follow_up_stands_between_replies_only(bench, task, ctx, run):
    [t] = run(MultiTurn(max_turns=3, follow_up="check").run(task, {"solver": bench()}, None, ctx))
    assert [turn.text for turn in t.turns] == ["one", "check", "two", "check", "three"]


def test_environment_hears_actions_and_ends_the_episode(bench, task, ctx, run):
    seat, env = bench(), Countdown(2)
    [t] = run(MultiTurn(max_turns=4).run(task, {"solver": seat}, env, ctx))
    assert seat.heard == {"observation": "ready"}
    assert env.seed == ctx.seed("env")
    assert [turn.text for turn in t.turns] == ["one", "seen one", "two"]
    assert env.actions == ["one", "two"]
    assert t.status == "finished"
    assert (float(t.keys["env:step"]), float(t.keys["env:win"])) == (2.0, 10.0)


def test_an_episode_still_going_at_the_turn_limit_is_truncated(bench, task, ctx, run):
    [t] = run(MultiTurn(max_turns=2).run(task, {"solver": bench()}, Countdown(9), ctx))
    assert len(t.turns) == 3
    assert t.status == "truncated"
    assert "env:win" not in t.keys


def test_a_full_context_truncates_instead_of_failing(bench, task, ctx, run):
    [t] = run(MultiTurn(max_turns=9, follow_up="x" * 200).run(task, {"solver": bench()}, None, ctx))
    assert t.status == "truncated"
    assert t.turns[-1].source == "data"


def test_with_several_seats_the_role_must_be_named(bench, task, ctx, run):
    seats = {"judge": bench(name="judge"), "solver": bench()}
    with pytest.raises(UserError, match=r"2 seats \(valid: judge, solver\)"):
        run(Single().run(task, seats, None, ctx))
    with pytest.raises(UserError, match="did you mean 'solver'"):
        run(Single(role="solvr").run(task, seats, None, ctx))
    assert run(Single(role="judge").run(task, seats, None, ctx))[0].role == "judge"


def test_at_least_one_turn_is_asked_for():
    with pytest.raises(UserError, match="max_turns must be at least 1, got 0"):
        MultiTurn(max_turns=0)
