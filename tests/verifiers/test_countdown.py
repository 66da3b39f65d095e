"""Countdown expressions: value, numbers used, and nothing executed."""

from __future__ import annotations

import random

import pytest

from selfevo.errors import UserError
from selfevo.verifiers import Countdown


def reward(text, make_row, ctx, use="all", numbers=(3, 5, 8), target=64):
    row = make_row(text, "(3+5)*8", numbers=list(numbers), target=target)
    return Countdown(use=use)([row], ctx("c"))[0].reward("c")


@pytest.mark.parametrize("text", ["#### (3+5)*8", "#### 8 × (3 + 5) = 64", r"\boxed{(3+5)\times 8}", "#### ((3)+5)*8."])
def test_every_right_expression_scores_one(text, make_row, ctx):
    assert reward(text, make_row, ctx) == 1.0


@pytest.mark.parametrize(
    "text",
    [
        "#### 64",
        "#### 3+5*8",
        "#### 8*8",
        "#### (3+5)*8+3-3",
        "#### (3+5)*8=65",
        "#### (3+5)*8=64=64",
        "#### 4*16",
        "#### (3+5)*8/1",
        "#### 8**2",
        "#### 8*(5+3",
        "#### +(3+5)*8",
        "#### 3/(5-5)",
        "#### __import__('os')",
        "#### 8(3+5)",
        "#### " + "(" * 90 + "1",
        "#### ",
        "(3+5)*8",
    ],
)
def test_wrong_values_numbers_and_syntax_score_zero(text, make_row, ctx):
    assert reward(text, make_row, ctx) == 0.0


def test_some_allows_leaving_numbers_out_but_not_repeating_them(make_row, ctx):
    assert reward("#### 3*5", make_row, ctx, "some", target=15) == 1.0
    assert reward("#### 3*5", make_row, ctx, "all", target=15) == 0.0
    assert reward("#### 3*5+5-5", make_row, ctx, "some", target=15) == 0.0


def test_a_number_given_twice_may_be_used_twice(make_row, ctx):
    assert reward("#### 4*4", make_row, ctx, numbers=(4, 4), target=16) == 1.0
    assert reward("#### 4*4", make_row, ctx, numbers=(4, 2), target=16) == 0.0


def test_division_is_exact(make_row, ctx):
    assert reward("#### 8/(3-8/3)", make_row, ctx, numbers=(3, 3, 8, 8), target=24) == 1.0


def test_a_task_of_another_kind_is_an_error(make_row, ctx):
    (row,) = Countdown()([make_row("#### 1", "1")], ctx("c"))
    assert row.score.statuses["c"] == "error"


def test_gold_of_the_bundled_family_scores_one(make_row, ctx):
    from selfevo.records import Row, Trajectory, Turn
    from selfevo.tasks import Countdown as Tasks

    source, rng = Tasks(), random.Random(3)
    tasks = [source.draw(rng) for _ in range(30)]
    rows = [Row.of(Trajectory(str(i), t, "s", "p@0", (Turn("policy", source.gold(t)),), "e")) for i, t in enumerate(tasks)]
    assert [r.reward("c") for r in Countdown()(rows, ctx("c"))] == [1.0] * 30


def test_unknown_use_is_refused():
    with pytest.raises(UserError, match="expected 'all' or 'some'"):
        Countdown(use="any")
