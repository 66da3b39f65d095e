"""DVAO: identities A to E of its card, and the two estimators it is compared with."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from method_bench import Named, columns, scored

from selfevo.advantages import GroupNorm, MultiReward, Whiten
from selfevo.errors import UserError

EXACT = {"eps": 0.0}


def drawn(seed=0, groups=6, size=5, rewards=("a", "b", "c")):
    r = random.Random(seed)
    return scored({f"g{g}": [{k: r.gauss(0, 1 + i) for i, k in enumerate(rewards)} for _ in range(size)] for g in range(groups)})


def weights(**b):
    return MultiReward(b, **EXACT)


def by_group(values, rows):
    out = {}
    for value, row in zip(values, rows, strict=True):
        out.setdefault(row.group, []).append(value)
    return out


def matrix(rows, names):
    """[G, K] per group."""
    return {g: np.array([[row.reward(k) for k in names] for row in rows if row.group == g]) for g in dict.fromkeys(r.group for r in rows)}


def test_against_an_independent_implementation():
    samples, rows = drawn()
    b, eps = {"a": 0.2, "b": 0.5, "c": 0.3}, 1e-6
    got = {how: by_group(columns(MultiReward(b, how=how, eps=eps), samples, rows), rows) for how in ("dynamic", "advantage", "reward")}
    for group, r in matrix(rows, b).items():
        beta = np.array(list(b.values()))
        z = (r - r.mean(0)) / (r.std(0) + eps)
        w = beta * r.std(0) / (beta * r.std(0)).sum()
        total = r @ beta
        assert np.allclose(got["dynamic"][group], z @ w, atol=1e-12)
        assert np.allclose(got["advantage"][group], z @ beta, atol=1e-12)
        assert np.allclose(got["reward"][group], (total - total.mean()) / (total.std() + eps), atol=1e-12)


@pytest.mark.parametrize("how", ["dynamic", "advantage", "reward"])
def test_identity_a_one_reward_is_grpo_with_the_population_deviation(how):
    samples, rows = drawn(rewards=("a",))
    grpo = columns(GroupNorm("a", std="population", eps=0.0), samples, rows)
    assert columns(MultiReward({"a": 1.0}, how=how, eps=0.0), samples, rows) == pytest.approx(grpo, abs=1e-13)
    # the smoothing constant stands in the same place, and so does the other deviation
    ours = columns(MultiReward({"a": 1.0}, how=how, eps=1e-3, std="sample"), samples, rows)
    assert ours == pytest.approx(columns(GroupNorm("a", std="sample", eps=1e-3), samples, rows), abs=1e-13)


def test_identity_b_proportional_rewards_are_grpo_on_any_of_them():
    r = random.Random(1)
    base = [[r.gauss(0, 1) for _ in range(5)] for _ in range(4)]
    samples, rows = scored({f"g{i}": [{"a": x, "b": 3 * x, "c": 0.1 * x} for x in group] for i, group in enumerate(base)})
    grpo = columns(GroupNorm("a", std="population", eps=0.0), samples, rows)
    assert columns(weights(a=0.2, b=0.3, c=0.5), samples, rows) == pytest.approx(grpo, abs=1e-12)


def test_identity_c_it_is_the_sum_scaled_down_by_a_factor_between_0_and_1():
    samples, rows = drawn(seed=2)
    b = {"a": 0.2, "b": 0.5, "c": 0.3}
    dvao = by_group(columns(MultiReward(b, eps=0.0), samples, rows), rows)
    rc = by_group(columns(MultiReward(b, how="reward", eps=0.0), samples, rows), rows)
    for group, r in matrix(rows, b).items():
        beta = np.array(list(b.values()))
        factor = (r @ beta).std() / (r.std(0) @ beta)
        assert 0 <= factor <= 1
        assert np.allclose(dvao[group], np.array(rc[group]) * factor, atol=1e-12)
        assert all(abs(x) <= abs(y) for x, y in zip(dvao[group], rc[group], strict=True))
        assert np.allclose(dvao[group], (r - r.mean(0)) @ beta / (r.std(0) @ beta), atol=1e-12)  # the closed form


def test_identity_d_a_constant_reward_weighs_nothing():
    samples, rows = drawn(seed=3)
    for how in ("dynamic", "advantage"):
        without = columns(MultiReward({"a": 0.5, "b": 0.5}, how=how), samples, rows)
        rows_with = [row.rewarded("flat", 0.7) for row in rows]
        ctx = Named()
        assert columns(MultiReward({"a": 0.5, "b": 0.5, "flat": 2.0}, how=how), samples, rows_with, ctx) == without
        assert ctx.metrics["advantage/column/sigma_flat"] == 0.0
        assert ctx.metrics["advantage/column/weight_flat"] == (0.0 if how == "dynamic" else 2.0)


def test_identity_e_the_mean_square_is_the_correlation_of_the_weights():
    samples, rows = drawn(seed=4, groups=1, size=7)
    b = {"a": 0.2, "b": 0.5, "c": 0.3}
    ctx = Named()
    made = columns(MultiReward(b, eps=0.0), samples, rows, ctx)
    ((_, r),) = matrix(rows, b).items()
    w = np.array([ctx.metrics[f"advantage/column/weight_{k}"] for k in b])
    assert w.sum() == pytest.approx(1.0)
    expected = w @ np.corrcoef(r.T) @ w
    assert np.mean(np.square(made)) == pytest.approx(expected, abs=1e-12)
    assert ctx.metrics["advantage/column/mean_square"] == pytest.approx(expected, abs=1e-12)
    assert expected <= 1


@pytest.mark.parametrize("how", ["dynamic", "advantage", "reward"])
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_opposed_rewards_give_zero_and_never_nan(how, eps):
    samples, rows = scored({"g": [{"a": x, "b": -x} for x in (1.0, 0.0, 0.25, -3.0)]})
    made = columns(MultiReward({"a": 0.5, "b": 0.5}, how=how, eps=eps), samples, rows)
    assert made == [0.0] * 4 and all(map(math.isfinite, made))


@pytest.mark.parametrize("how", ["dynamic", "advantage", "reward"])
def test_groups_of_one_and_groups_of_equals_are_zero(how):
    samples, rows = scored({"one": [{"a": 1.0, "b": 2.0}], "equal": [{"a": 0.1, "b": 0.3}] * 3})
    assert columns(MultiReward({"a": 0.5, "b": 0.5}, how=how, eps=0.0), samples, rows) == [0.0] * 4


def test_gdpo_is_the_advantage_combination_whitened_over_the_batch():
    samples, rows = drawn(seed=5)
    inner = MultiReward({"a": 0.5, "b": 0.5}, how="advantage")
    made = np.array(columns(inner, samples, rows))
    whitened = columns(Whiten(of=inner, eps=0.0), samples, rows)
    assert np.allclose(whitened, (made - made.mean()) / made.std(), atol=1e-12)


@pytest.mark.parametrize("how", ["dynamic", "advantage", "reward"])
def test_neither_the_order_of_rows_nor_a_shift_matters(how):
    samples, rows = drawn(seed=6)
    term = MultiReward({"a": 0.5, "b": 0.5}, how=how)
    made = columns(term, samples, rows)
    assert columns(term, samples[::-1], rows)[::-1] == made
    shifted = [row.rewarded("a", row.reward("a") + 2.0) for row in rows]
    assert columns(term, samples, shifted) == pytest.approx(made, abs=1e-12)


def test_bad_settings_and_rewards_that_are_not_there_are_one_line():
    for settings in (
        {"rewards": {}},
        {"rewards": {"a": -1.0}},
        {"rewards": {"a": 1.0}, "how": "sum"},
        {"rewards": {"a": 1.0}, "eps": -1.0},
    ):
        with pytest.raises(UserError, match="MultiReward"):
            MultiReward(**settings)
    samples, rows = drawn()
    with pytest.raises(UserError, match="no reward 'd'"):
        columns(MultiReward({"a": 1.0, "d": 1.0}), samples, rows)
    failed = [rows[0].failed("late", "timeout", "too slow"), *(row.rewarded("late", 1.0) for row in rows[1:])]
    with pytest.raises(UserError, match="timeout"):
        columns(MultiReward({"late": 1.0}), samples, failed)
