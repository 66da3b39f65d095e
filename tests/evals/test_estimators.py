"""pass@k and maj@k against enumeration of all subsets; the bootstrap's invariants."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.evals.estimators import interval, maj_at_k, pass_at_k, quantile

SAMPLES = st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=8)


def enumerated_majority(answers, right, k):
    total, subsets = 0.0, list(combinations(range(len(answers)), k))
    for subset in subsets:
        votes = [answers[i] for i in subset if answers[i] is not None]
        if votes:
            most = max(votes.count(a) for a in set(votes))
            tied = [a for a in set(votes) if votes.count(a) == most]
            total += sum(right[answers.index(a)] for a in tied) / len(tied)
    return total / len(subsets)


@pytest.mark.parametrize("n", range(1, 7))
def test_pass_at_k_is_the_share_of_subsets_with_a_right_sample(n):
    for c in range(n + 1):
        for k in range(1, n + 1):
            subsets = list(combinations([i < c for i in range(n)], k))
            assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets), abs=1e-12)


@settings(max_examples=150, deadline=None)
@given(SAMPLES, st.sets(st.sampled_from(["a", "b", "c"])), st.data())
def test_maj_at_k_equals_enumeration(answers, correct, data):
    k = data.draw(st.integers(1, len(answers)))
    right = [a in correct for a in answers]
    assert maj_at_k(answers, right, k) == pytest.approx(enumerated_majority(answers, right, k), abs=1e-12)


def test_maj_at_one_is_pass_at_one():
    assert maj_at_k(["a", "a", "b", None], [True, True, False, False], 1) == pytest.approx(0.5)


def test_a_three_way_tie_is_right_a_third_of_the_time():
    assert maj_at_k(["a", "b", "c"], [True, False, False], 3) == pytest.approx(1 / 3)


def test_maj_at_n_of_many_distinct_answers_stays_cheap_and_exact():
    answers = ["gold"] * 4 + [f"w{i}" for i in range(124)]
    right = [a == "gold" for a in answers]
    assert maj_at_k(answers, right, 128) == 1.0
    assert 4 / 128 < maj_at_k(answers, right, 64) < 1.0


def test_estimators_refuse_k_beyond_n():
    with pytest.raises(ValueError, match="n=2, c=1, k=3"):
        pass_at_k(2, 1, 3)
    with pytest.raises(ValueError, match="n=1, k=2"):
        maj_at_k(["a"], [True], 2)


def test_interval_of_constant_data_is_a_point():
    assert interval([0.1] * 7, 100, "s") == (0.1, 0.1)


def test_interval_does_not_depend_on_the_order_of_tasks():
    values = [0.0, 1.0, 0.25, 0.5, 0.5, 0.75]
    low, high = interval(values, 200, "s", 0)
    assert interval(values[::-1], 200, "s", 0) == (low, high)
    assert 0.0 <= low < 0.5 < high <= 1.0


def test_interval_is_close_to_the_normal_one():
    values = [0.0, 1.0] * 200
    low, high = interval(values, 2000, "s", 0)
    half = 1.96 * (0.25 / 400) ** 0.5
    assert low == pytest.approx(0.5 - half, abs=0.008)
    assert high == pytest.approx(0.5 + half, abs=0.008)


def test_quantiles_are_linear_between_neighbours():
    assert [quantile([0.0, 1.0, 2.0], q) for q in (0, 0.25, 0.5, 1)] == [0.0, 0.5, 1.0, 2.0]
