"""From curves to a verdict, with numbers that can be followed by hand."""

from __future__ import annotations

import math
import random
from statistics import NormalDist

import pytest

from selfevo.comparing.speed import Point
from selfevo.comparing.student import QUANTILES
from selfevo.errors import UserError
from selfevo.reproducing.effect import Pair, Side, effect, read


def of(*differences: float) -> list[Pair]:
    return [Pair(i, 100.0, Side(0.5 + d, 0, 100, 1), Side(0.5, 0, 100, 1)) for i, d in enumerate(differences)]


def test_the_interval_is_students_over_seeds() -> None:
    e = effect(of(0.1, 0.2, 0.3), "higher")
    assert e.mean == pytest.approx(0.2)
    half = 4.303 * 0.1 / math.sqrt(3)  # the standard deviation of 0.1, 0.2, 0.3 is 0.1
    assert (e.low, e.high) == pytest.approx((0.2 - half, 0.2 + half))
    assert e.verdict == "not shown"  # 0.2 - 0.248


@pytest.mark.parametrize("differences, better, verdict", [
    ((0.20, 0.21, 0.19), "higher", "shown"),
    ((0.20, 0.21, 0.19), "lower", "opposite"),
    ((-0.20, -0.21, -0.19), "lower", "shown"),
    ((0.20, -0.21, 0.19), "higher", "not shown"),
    ((0.0, 0.0, 0.0), "higher", "not shown"),
])
def test_the_verdict_says_on_which_side_of_nothing_the_whole_interval_lies(
    differences: tuple[float, ...], better: str, verdict: str
) -> None:
    assert effect(of(*differences), better).verdict == verdict  # type: ignore[arg-type]


def test_the_order_of_seeds_changes_nothing_and_neither_does_a_shift_of_both_sides() -> None:
    pairs = of(0.1, 0.25, 0.05, 0.2)
    shuffled = random.Random(0).sample(pairs, len(pairs))
    moved = [Pair(p.seed, p.at, Side(p.method.value + 3, 0, 100, 1), Side(p.baseline.value + 3, 0, 100, 1)) for p in pairs]
    for other in (shuffled, moved):
        assert effect(other, "higher").low == pytest.approx(effect(pairs, "higher").low)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng = random.Random(1)
    hits = sum((e := effect(of(*(rng.gauss(0.1, 0.05) for _ in range(3))), "higher")).low <= 0.1 <= e.high for _ in range(4000))
    assert abs(hits / 4000 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 4000)


def test_students_quantiles_fall_towards_the_normal_one() -> None:
    assert list(QUANTILES) == sorted(QUANTILES, reverse=True)
    assert QUANTILES[-1] == pytest.approx(NormalDist().inv_cdf(0.975), abs=0.09)


def test_one_seed_has_no_interval() -> None:
    with pytest.raises(UserError, match="at least 2 seeds"):
        effect(of(0.1), "higher")


def test_seeds_that_change_nothing_are_no_evidence() -> None:
    with pytest.raises(UserError, match="the seed does not reach"):
        effect(of(0.25, 0.25, 0.25), "higher")


@pytest.mark.parametrize("tokens, value", [(0, 0.2), (50, 0.3), (100, 0.4), (150, 0.6), (200, 0.8), (900, 0.8)])
def test_a_curve_is_read_in_a_straight_line_between_evaluations(tokens: float, value: float) -> None:
    assert read([Point(0, 0, 0.2), Point(100, 5, 0.4), Point(200, 15, 0.8)], tokens) == pytest.approx(value)
