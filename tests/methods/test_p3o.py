"""P3O: identities A to E of its card, its two terms by hand, and a statistic that no split of the batch changes."""

from __future__ import annotations

import math

import pytest
import torch
from double import exact_norms
from learner_bench import near, tiny_policy
from method_bench import Named, Plain, gradient, learner, scored, slope, summed

from selfevo.advantages import GroupNorm
from selfevo.errors import UserError
from selfevo.objectives import KL, P3O, Cispo, ClippedRatio, PolicyGradient, Pullback
from selfevo.objectives.p3o import effective_sample_size

GROUPS = {"a": [1.0, 0.0, 0.0, 1.0], "b": [0.0, 1.0, 1.0]}
A = {"A": GroupNorm()}


@pytest.fixture(autouse=True, scope="module")
def in_double():
    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


def p3o(**settings):
    return {"pg": P3O("A", **settings), "pull": Pullback(**settings)}


def close(a, b):
    return float((a - b).abs().max()) <= 1e-6 and float(b.abs().max()) > 1e-2


def ess(log_w, mask=None, per="batch"):
    log_w = torch.tensor(log_w, dtype=torch.float64)
    return effective_sample_size(log_w, torch.ones_like(log_w) if mask is None else torch.tensor(mask, dtype=torch.float64), per)


def test_identity_a_on_fresh_data_it_is_reinforce_with_group_scores():
    samples, rows = scored(GROUPS)
    ours = gradient(samples, rows, p3o(old="old"), A)
    assert close(ours, gradient(samples, rows, {"pg": PolicyGradient("A", reduce="tokens")}, A))
    assert close(ours, gradient(samples, rows, {"pg": ClippedRatio("A", old="old", reduce="tokens")}, A))
    ctx = Named()
    learner(samples, p3o(old="old"), A).update(tiny_policy(), rows, ctx)
    assert ctx.metrics["train/pg/ess"] == ctx.metrics["train/pull/ess"] == 1.0
    assert ctx.metrics["train/pull"] == 0.0


def test_identity_b_a_common_factor_leaves_the_sample_size_and_caps_the_weight_at_one():
    for c in (0.25, 3.0):
        assert ess([[math.log(c)] * 5]).item() == pytest.approx(1.0, abs=1e-15)
        batch = Plain([[-1.0, -2.0]], columns={"A": [1.5]}, logp_sampler=[[-1.0 - math.log(c), -2.0 - math.log(c)]])
        assert slope(P3O("A"), batch).flatten().tolist() == pytest.approx([-min(c, 1.0) * 1.5] * 2)
    spread = [[0.3, -1.0, 2.0, 0.0]]
    assert ess([[x + 700.0 for x in spread[0]]]).item() == pytest.approx(ess(spread).item(), abs=1e-12)  # e^700 squared would overflow


def test_identity_c_one_dominating_token_leaves_a_sample_of_one():
    assert ess([[30.0, -30.0, -30.0, -30.0, -30.0]]).item() == pytest.approx(1 / 5, abs=1e-12)
    w = [2.0, 0.5, 1.0]
    assert ess([[math.log(x) for x in w]]).item() == pytest.approx(sum(w) ** 2 / (3 * sum(x * x for x in w)), abs=1e-14)


def test_identity_d_padding_changes_nothing():
    logp, old, mask = [[-1.0, -0.5], [-2.0, -0.1]], [[-1.4, -0.2], [-1.0, -3.0]], [[1.0, 1.0], [1.0, 0.0]]
    wide = [[*r, x, x] for r, x in zip(logp, (5.0, 7.0), strict=True)]
    small = Plain(logp, mask, {"A": [1.0, -1.0]}, logp_sampler=old)
    large = Plain(wide, [[*r, 0.0, 0.0] for r in mask], {"A": [1.0, -1.0]}, logp_sampler=[[*r, 0.0, 0.0] for r in old])
    for term in (P3O("A"), Pullback(), P3O("A", per="row"), Pullback(per="row")):
        assert summed(term, small).item() == pytest.approx(summed(term, large).item(), abs=1e-15)
        assert torch.allclose(slope(term, small), slope(term, large)[:, :2], atol=1e-15)
    wrong = ess([[0.4, -0.3, 0.0, 0.0]]).item()  # padding counted as ratio 1 would raise it
    assert wrong > ess([[0.4, -0.3, 0.0, 0.0]], [[1.0, 1.0, 0.0, 0.0]]).item()


def test_identity_e_at_equal_policies_the_pull_has_no_gradient_and_no_value():
    batch = Plain([[-1.0, -2.0]], logp_sampler=[[-1.0, -2.0]])
    assert not slope(Pullback(), batch).any() and summed(Pullback(), batch).item() == 0.0
    # nor does k3 itself, whatever stands before it
    assert not slope(KL("sampler"), batch).any()


def test_by_hand():
    # ratios 2, 1/2, 1: ESS = 3.5^2 / (3 * 5.25) = 7/9; weights 7/9, 1/2, 7/9; pull 2/9 * k3
    log_r = [math.log(2.0), math.log(0.5), 0.0]
    batch = Plain(
        [[-1.0, -2.0, -3.0]], columns={"A": [2.0]}, logp_sampler=[[x - y for x, y in zip((-1.0, -2.0, -3.0), log_r, strict=True)]]
    )
    assert P3O("A").stats(batch)["ess"].item() == pytest.approx(7 / 9)
    assert summed(P3O("A"), batch).item() == pytest.approx(2 * (7 / 9 * 1 + 1 / 2 * 2 + 7 / 9 * 3))
    assert slope(P3O("A"), batch).flatten().tolist() == pytest.approx([-14 / 9, -1.0, -14 / 9])  # no gradient through the ratio
    k3 = [math.exp(-d) - 1 + d for d in log_r]
    assert summed(Pullback(), batch).item() == pytest.approx(2 / 9 * sum(k3))
    assert slope(Pullback(), batch).flatten().tolist() == pytest.approx([2 / 9 * (1 - math.exp(-d)) for d in log_r])


def test_one_sample_size_per_row():
    log_w = [[0.0, math.log(3.0)], [0.5, 0.5]]
    assert ess(log_w, per="row").flatten().tolist() == pytest.approx([16 / 20, 1.0])
    batch = Plain(log_w, columns={"A": [1.0, 1.0]}, logp_sampler=[[0.0, 0.0], [0.0, 0.0]])
    assert torch.allclose(slope(P3O("A", per="row"), batch), torch.tensor([[-0.8, -0.8], [-1.0, -1.0]], dtype=torch.float64))
    assert not slope(Pullback(per="row"), batch)[1].any() and slope(Pullback(per="row"), batch)[0, 1] > 0
    assert ess([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [0.0, 0.0]], per="row")[1].item() == 1.0  # a row with nothing


def test_an_empty_batch_or_one_that_is_not_finite_counts_as_fresh():
    assert ess([[1.0, 2.0]], [[0.0, 0.0]]).item() == 1.0
    assert ess([[float("nan"), 0.0]]).item() == 1.0
    assert ess([[float("inf"), 0.0]]).item() == 1.0


def test_the_exponent_of_the_pull_is_bounded():
    batch = Plain([[-50.0, -1.0]], logp_sampler=[[0.0, -1.0]])
    assert KL("sampler", bound=10.0).divergence(batch)[0, 0].item() == pytest.approx(math.exp(10) - 1 - 50)
    assert KL("sampler").divergence(batch)[0, 0].item() == pytest.approx(math.exp(50) - 1 - 50)


@pytest.mark.parametrize("per", ["batch", "row"])
def test_neither_micro_batches_nor_the_order_of_rows_matter(per):
    policy = tiny_policy(dtype=torch.float64)
    samples, rows = scored(GROUPS, near(policy, scale=0.1))
    whole = gradient(samples, rows, p3o(per=per), A)
    assert close(gradient(samples, rows, p3o(per=per), A, micro_tokens=20), whole)
    assert close(gradient(samples[::-1], rows, p3o(per=per), A), whole)


def test_the_sample_size_is_that_of_each_optimizer_step():
    policy = tiny_policy()
    samples, rows = scored(GROUPS, near(policy, scale=0.1))
    ctx = Named()
    learner(samples, p3o(), A, mini_batch=1, lr=0.0, shuffle=False).update(policy, rows, ctx)
    from method_bench import sampled

    now = sampled(samples, policy)
    each = [ess([[a - b for a, b in zip(n.columns["logp:sampler"], s.columns["logp:sampler"], strict=True)]]).item()
            for n, s in zip(now, samples, strict=True)]  # fmt: skip
    assert ctx.metrics["train/pg/ess"] == pytest.approx(sum(each) / len(each), abs=1e-4)


def test_without_the_cap_it_is_unclipped_importance_weighting():
    # the baseline of the tiny experiment: CISPO with no bound above
    policy = tiny_policy(dtype=torch.float64)
    samples, rows = scored(GROUPS, near(policy, scale=0.1))
    unclipped = gradient(samples, rows, {"pg": Cispo("A", high=float("inf"))}, A)
    assert not close(gradient(samples, rows, {"pg": P3O("A")}, A), unclipped)
    # w A grad log pi is the gradient of w A too: PPO's surrogate with no range
    assert close(gradient(samples, rows, {"pg": ClippedRatio("A", low=1e9, high=1e9)}, A), unclipped)


def test_older_data_has_a_smaller_sample_size():
    policy = tiny_policy()
    sizes = []
    for age, scale in ((0, 0.0), (4, 0.02), (16, 0.08)):
        samples, rows = scored(GROUPS, near(policy, scale=scale))
        ctx = Named()
        learner(samples, p3o(), A, lr=0.0).update(policy, rows, ctx)
        sizes.append(ctx.metrics["train/pg/ess"])
        assert age == 0 or ctx.metrics["train/pull"] > 0
    assert sizes[0] == pytest.approx(1.0, abs=1e-6) and sizes == sorted(sizes, reverse=True)


def test_bad_settings_are_one_line():
    for make in (lambda: P3O("A", per="tokens"), lambda: Pullback(per="rows"), lambda: Pullback(bound=-1.0), lambda: P3O("A", length=3.0)):
        with pytest.raises(UserError):
            make()
