"""Paired differences: numbers worked by hand, symmetry, agreement with SciPy, and the coverage of the interval."""

from __future__ import annotations

import itertools
import random

import pytest

from selfevo.comparing.paired import Difference, difference, sign_flips

Solved = dict[str, tuple[int, int]]


def test_a_difference_worked_by_hand() -> None:
    run: Solved = {"a": (2, 2), "b": (1, 2), "c": (0, 2), "d": (2, 2), "only here": (2, 2)}
    base: Solved = {"a": (1, 2), "b": (1, 2), "c": (1, 2), "d": (0, 2), "only there": (0, 2), "nor here": (1, 2)}
    d = difference(run, base, 500, "x")
    # by task +1/2, 0, -1/2, +1: mean 1/4. Sums of signed halves 1, 1, 2: |sum| >= 2 in 6 of 8 patterns.
    assert d is not None
    assert (d.tasks, d.mean, d.better, d.worse, d.alone) == (4, 0.25, 2, 1, 3)
    assert d.p == 6 / 8
    assert -0.5 <= d.low <= 0.25 <= d.high <= 1.0


@pytest.mark.parametrize("differences, p", [
    ([], 1.0), ([0, 0, 0], 1.0), ([5], 1.0), ([1, 1], 0.5), ([1, -1], 1.0), ([1, 1, 1, 1, 1], 2 / 32), ([3, 3, 3, -3], 10 / 16),
    ([1, 2, 3], 2 / 8),
])
def test_the_randomisation_test_on_cases_that_can_be_counted(differences: list[int], p: float) -> None:
    assert sign_flips(differences) == p


@pytest.mark.parametrize("seed", range(20))
def test_the_randomisation_test_counts_every_pattern_of_signs(seed: int) -> None:
    draw = random.Random(seed)
    differences = [draw.randint(-4, 4) for _ in range(10)]
    patterns = list(itertools.product((-1, 1), repeat=10))
    extreme = sum(abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(sum(differences)) for signs in patterns)
    assert sign_flips(differences) == extreme / len(patterns)


def test_the_randomisation_test_agrees_with_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    draw = random.Random(7)
    for _ in range(5):
        differences = [draw.randint(-3, 5) for _ in range(11)]
        whole = stats.permutation_test((differences, [0] * 11), lambda a, b, axis: (a - b).sum(axis=axis), permutation_type="samples",
                                       vectorized=True, n_resamples=float("inf"))  # fmt: skip
        assert sign_flips(differences) == pytest.approx(float(whole.pvalue), abs=1e-12)


def test_the_randomisation_test_of_ones_is_the_exact_sign_test() -> None:
    stats = pytest.importorskip("scipy.stats")
    for wins, losses in ((3, 9), (12, 4), (20, 20), (150, 101)):
        assert sign_flips([1] * wins + [-1] * losses) == pytest.approx(float(stats.binomtest(wins, wins + losses).pvalue), rel=1e-12)


def test_what_would_take_too_long_has_no_p() -> None:
    assert sign_flips([10**9 + i for i in range(60)]) is None


def test_runs_with_other_numbers_of_samples_are_compared_by_their_shares() -> None:
    d = difference({"a": (1, 2), "b": (3, 3)}, {"a": (1, 3), "b": (1, 2)}, 100)
    assert d is not None
    assert d.mean == pytest.approx((1 / 2 - 1 / 3 + 1 - 1 / 2) / 2)
    assert d.p == 0.5


def _synthetic(draw: random.Random, tasks: int, gain: float) -> tuple[Solved, Solved]:
    """Tasks of varied difficulty, four samples each; the run solves every one with a probability higher by `gain`."""
    run, base = {}, {}
    for i in range(tasks):
        p = draw.uniform(0.1, 0.8)
        run[f"t{i}"] = (sum(draw.random() < p + gain for _ in range(4)), 4)
        base[f"t{i}"] = (sum(draw.random() < p for _ in range(4)), 4)
    return run, base


def test_the_order_of_tasks_says_nothing() -> None:
    run, base = _synthetic(random.Random(1), 30, 0.1)
    names = list(run)
    random.Random(2).shuffle(names)
    assert difference({n: run[n] for n in names}, {n: base[n] for n in reversed(names)}, 200) == difference(run, base, 200)


def test_turned_round_only_the_signs_change() -> None:
    run, base = _synthetic(random.Random(3), 30, 0.1)
    one, other = difference(run, base, 2000), difference(base, run, 2000)
    assert isinstance(one, Difference) and isinstance(other, Difference)
    assert other.mean == -one.mean
    assert (other.better, other.worse, other.p) == (one.worse, one.better, one.p)
    assert other.low == pytest.approx(-one.high, abs=0.03) and other.high == pytest.approx(-one.low, abs=0.03)


def test_a_run_against_itself_is_no_different_for_certain() -> None:
    run, _ = _synthetic(random.Random(4), 20, 0.0)
    assert difference(run, run, 100) == Difference(20, 0.0, 0.0, 0.0, 1.0, 0, 0, 0)


def test_runs_without_a_common_task_cannot_be_compared() -> None:
    assert difference({"a": (1, 1)}, {"b": (1, 1)}, 100) is None


def test_the_interval_covers_the_true_difference_about_as_often_as_it_says() -> None:
    draw, gain, times = random.Random(11), 0.1, 300
    found = [difference(*_synthetic(draw, 60, gain), 300, i) for i in range(times)]
    assert all(d is not None for d in found)
    covered = sum(d.low <= gain <= d.high for d in found if d is not None) / times
    assert 0.90 <= covered <= 0.98


def test_chance_alone_is_called_a_difference_no_more_often_than_it_should() -> None:
    draw, times = random.Random(12), 300
    found = [difference(*_synthetic(draw, 40, 0.0), 1, i) for i in range(times)]
    assert sum(d.p <= 0.05 for d in found if d is not None and d.p is not None) / times <= 0.08
