"""Weighted, Gate, DropUniform, Route and Graded: how parts build on parts."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.verifiers import Countdown, DropUniform, Exact, Gate, Graded, Majority, Route, Weighted, verify


def test_weighted_by_hand(make_row, ctx):
    row = make_row().rewarded("a", 0.5).rewarded("b", -1.0).rewarded("c", 9.0)
    assert Weighted({"a": 2, "b": 0.25})([row], ctx("w"))[0].reward("w") == 0.75


def test_weighted_passes_on_the_status_of_a_missing_reward(make_row, ctx):
    row = make_row().rewarded("a", 1.0).failed("b", "timeout", "late")
    (out,) = Weighted({"a": 1, "b": 1})([row], ctx("w"))
    assert (out.reward("w"), out.score.statuses["w"], out.score.errors["w"]) == (None, "timeout", "b: late")


def test_a_weight_of_zero_takes_its_reward_out(make_row, ctx):
    row = make_row().rewarded("a", 1.0).failed("b", "error", "x")
    assert Weighted({"a": 1, "b": 0})([row], ctx("w"))[0].reward("w") == 1.0


@pytest.mark.parametrize("part", [Weighted({"exat": 1}), Gate("exact", "exat"), Gate("exat", "exact"), DropUniform("exat")])
def test_unknown_rewards_are_refused_with_the_nearest(part, make_row, ctx):
    with pytest.raises(UserError, match=r"verifier\.w: no part before it gives the reward 'exat'; did you mean 'exact'"):
        verify({"exact": Exact(), "w": part}, [make_row("#### 1", "1")], ctx)


def test_gate_passes_its_reward_only_when_met(make_row, ctx):
    rows = [make_row().rewarded("key", k).rewarded("x", 0.7) for k in (0.0, 0.5, 1.0)]
    assert [r.reward("g") for r in Gate("x", "key", at_least=0.5, otherwise=-1.0)(rows, ctx("g"))] == [-1.0, 0.7, 0.7]


def test_gate_without_its_key_takes_the_keys_status(make_row, ctx):
    rows = [make_row().failed("key", "error", "x").rewarded("x", 1.0), make_row().rewarded("key", 0.0).failed("x", "error", "y")]
    out = Gate("x", "key")(rows, ctx("g"))
    assert [r.score.statuses["g"] for r in out] == ["error", "ok"]
    assert out[1].reward("g") == 0.0


def drop(values, make_row, ctx, **settings):
    rows = [make_row().failed("r", "timeout", "") if v is None else make_row().rewarded("r", v) for v in values]
    return [r.score.keep for r in DropUniform("r", **settings)(rows, ctx("d"))]


def test_drop_uniform_keeps_groups_with_a_difference(make_row, ctx):
    assert drop([0, 0, 1], make_row, ctx) == [True] * 3
    assert drop([1, 1, 1], make_row, ctx) == [False] * 3
    assert drop([0, 0], make_row, ctx) == [False] * 2


def test_drop_uniform_looks_past_missing_rewards_and_drops_single_ones(make_row, ctx):
    assert drop([1, None, 1], make_row, ctx) == [False] * 3
    assert drop([1, None, 0], make_row, ctx) == [True] * 3
    assert drop([1], make_row, ctx) == [False]
    assert drop([None, None], make_row, ctx) == [False] * 2


def test_drop_uniform_within_is_a_tolerance(make_row, ctx):
    assert drop([0.5, 0.6], make_row, ctx, within=0.2) == [False] * 2
    assert drop([0.5, 0.9], make_row, ctx, within=0.2) == [True] * 2


def test_drop_uniform_never_brings_a_dropped_row_back(make_row, ctx):
    from dataclasses import replace

    rows = [make_row().rewarded("r", v) for v in (0, 1)]
    rows[0] = replace(rows[0], score=replace(rows[0].score, keep=False))
    assert [r.score.keep for r in DropUniform("r")(rows, ctx("d"))] == [False, True]


def kinds(make_row, *categories):
    from dataclasses import replace

    rows = [make_row("#### 4*4", "16", numbers=[4, 4], target=16) for _ in categories]
    tasks = [replace(r.trajectory.task, category=c) for r, c in zip(rows, categories, strict=True)]
    return [replace(r, trajectory=replace(r.trajectory, task=t)) for r, t in zip(rows, tasks, strict=True)]


def test_route_judges_each_category_by_its_part_and_keeps_order(make_row, ctx):
    route = Route({"countdown": Countdown()}, other=Exact())
    assert [r.reward("x") for r in route(kinds(make_row, "sum", "countdown", "sum", "countdown"), ctx("x"))] == [0.0, 1.0, 0.0, 1.0]


def test_route_refuses_unknown_categories_and_group_parts(make_row, ctx):
    with pytest.raises(UserError, match="no part for the category 'countdwn'; did you mean 'countdown'"):
        Route({"countdown": Countdown()})(kinds(make_row, "countdwn"), ctx("x"))
    with pytest.raises(UserError, match="scope 'group'"):
        Route({"a": Majority()})


def test_graded_asks_the_source_and_scores_silence_zero(make_row, ctx):
    class Longest:
        def grade(self, task, answer):
            return len(answer) / 10

    rows = Graded(Longest())([make_row("#### abc"), make_row("nothing")], ctx("g"))
    assert [r.reward("g") for r in rows] == [0.3, 0.0]
