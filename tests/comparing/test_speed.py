"""Learning speed at equal cost, with numbers that can be followed by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from selfevo.comparing.speed import AtCost, Point, Spent, at_cost, budget, curve, first_at, levels, spent
from selfevo.report.read import read_run

CURVE = [Point(0, 0, 0.2, 0), Point(100, 5, 0.4, 1), Point(200, 15, 0.8, 2)]


def test_evaluations_cost_nothing_and_come_where_the_training_had_got_to(write_run: Callable[..., Path]) -> None:
    run = read_run(write_run("a", [(0.2, 0, 0), (0.4, 100, 5), (0.8, 100, 10)]))
    assert curve(run, "eval/sums/pass@1") == CURVE
    assert curve(run, "eval/another/pass@1") == []


@pytest.mark.parametrize("limit, axis, value, mean", [
    (200, "tokens", 0.8, (0.2 * 100 + 0.4 * 100) / 200),
    (150, "tokens", 0.4, (0.2 * 100 + 0.4 * 50) / 150),
    (99, "tokens", 0.2, 0.2),
    (15, "seconds", 0.8, (0.2 * 5 + 0.4 * 10) / 15),
    (10, "seconds", 0.4, (0.2 * 5 + 0.4 * 5) / 10),
])
def test_a_value_holds_until_the_next_one_is_measured(limit: float, axis: str, value: float, mean: float) -> None:
    at = at_cost(CURVE, limit, axis)
    assert at.value == value
    assert at.mean == pytest.approx(mean)


def test_a_run_that_never_spent_as_much_has_no_value_there() -> None:
    assert at_cost(CURVE, 201, "tokens") == at_cost([], 10, "tokens") == at_cost(CURVE, 0, "tokens") == AtCost(None, None)


def test_the_budget_is_what_every_curve_reaches() -> None:
    other = [Point(0, 0, 0.1), Point(150, 90, 0.3)]
    assert budget([CURVE, other], "tokens") == 150
    assert budget([CURVE, other], "seconds") == 15
    assert budget([CURVE, [Point(0, 0, 0.1)]], "tokens") == 200  # one that was measured once set out nowhere
    assert budget([], "tokens") == 0


def test_the_cost_of_a_run_counts_evaluations_too(write_run: Callable[..., Path]) -> None:
    run = read_run(write_run("a", [(0.2, 0, 0), (0.4, 100, 5), (0.8, 100, 10)]))
    assert spent(run) == Spent(seconds=315.0, generate=7.5, score=0, train=0, generated=221.0, trained=100.0, discarded=0, updates=2)


def test_a_level_is_reached_where_it_was_first_measured() -> None:
    assert [first_at(CURVE, 0.4, axis) for axis in ("tokens", "seconds")] == [100, 5]
    assert first_at(CURVE, 0.1, "tokens") == 0 and first_at(CURVE, 0.41, "tokens") == 200 and first_at(CURVE, 0.9, "tokens") is None


@pytest.mark.parametrize("values, found", [
    ((0.2, 0.8), [0.25, 0.5, 0.75]),
    ((0.0, 1.0), [0.25, 0.5, 0.75, 1.0]),
    ((0.812, 0.861), [0.82, 0.84, 0.86]),
    ((0.5, 0.5), []),
    ((0.5, 0.4), []),
])
def test_levels_are_round_values_between_the_beginning_and_the_best(values: tuple[float, ...], found: list[float]) -> None:
    points = [Point(i, i, value) for i, value in enumerate(values)]
    assert levels([points, [Point(0, 0, 0.0)]]) == found  # one that was measured once shows no level
