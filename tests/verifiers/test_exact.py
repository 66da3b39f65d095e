"""Exact: the gold answer scores 1, near misses 0."""

from __future__ import annotations

import pytest

from selfevo.verifiers import Exact


@pytest.mark.parametrize("text", ["2+3=5\n#### 5", r"\boxed{5}", "#### 5.", "#### $5", "####5"])
def test_gold_answer_scores_one(text, make_row, ctx):
    (row,) = Exact()([make_row(text, "5")], ctx("exact"))
    assert row.reward("exact") == 1.0
    assert row.score.info["answer"] == "5"


@pytest.mark.parametrize("text", ["#### 50", "#### 5 apples", "#### -5", "#### 5.0", "5", "", "#### 5\n#### 6"])
def test_near_misses_score_zero(text, make_row, ctx):
    (row,) = Exact()([make_row(text, "5")], ctx("exact"))
    assert row.reward("exact") == 0.0


def test_a_reply_without_answer_leaves_no_answer(make_row, ctx):
    (row,) = Exact()([make_row("dunno", "5")], ctx("exact"))
    assert "answer" not in row.score.info


def test_a_task_without_reference_is_an_abstention_not_a_zero(make_row, ctx):
    (row,) = Exact()([make_row("#### 5", None)], ctx("exact"))
    assert row.reward("exact") is None
    assert row.score.statuses["exact"] == "abstain"


def test_case_and_dress_count_when_asked(make_row, ctx):
    rows = [make_row("#### Yes", "yes"), make_row("#### 1,000", "1000")]
    assert [r.reward("x") for r in Exact()(rows, ctx("x"))] == [0.0, 1.0]
    assert [r.reward("x") for r in Exact(fold_case=True, normalise=False)(rows, ctx("x"))] == [1.0, 0.0]


def test_only_the_last_policy_turn_is_judged(make_row, ctx):
    from dataclasses import replace

    from selfevo.records import Turn

    row = make_row("#### 5", "5")
    later = replace(row, trajectory=replace(row.trajectory, turns=(*row.trajectory.turns, Turn("env", "#### 6"))))
    assert Exact()([later], ctx("x"))[0].reward("x") == 1.0
