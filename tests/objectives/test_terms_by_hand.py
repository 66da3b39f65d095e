"""Each term against numbers worked out by hand, and the identities between neighbours."""

from __future__ import annotations

from math import exp, log

import pytest
import torch

from selfevo.errors import UserError
from selfevo.objectives import KL, NLL, Cispo, ClippedRatio, Distill, Entropy, PolicyGradient, ValueLoss

LN2 = log(2)


def grad(loss, batch):
    return torch.autograd.grad(loss, batch.theta)[0]


def test_clipped_ratio_clips_above_for_good_tokens_and_below_for_bad_ones(write):
    # ratios 2, 1/2 | 2, 1/2 with low 0.2, high 0.3:
    # A = 1: min(2, 1.3) = 1.3; min(0.5, 0.8) = 0.5.  A = -1: min(-2, -1.3) = -2; min(-0.5, -0.8) = -0.8.
    batch = write([[LN2, -LN2], [LN2, -LN2]], {"A": [1.0, -1.0], "logp:sampler": [(0.0, 0.0)] * 2})
    loss = ClippedRatio("A", low=0.2, high=0.3).loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[-1.3, -0.5], [2.0, 0.8]]))
    # d(-rA)/d logp = -rA where the clip is not active, 0 where it is.
    assert torch.allclose(grad(loss.sum(), batch), torch.tensor([[0.0, -0.5], [2.0, 0.0]]))


def test_dual_clip_bounds_the_loss_of_bad_tokens_only(write):
    # ratio 8: A = -1 gives loss 8, bounded to 3; A = 1 stays at the upper clip 1.2.
    batch = write([[log(8)], [log(8)]], {"A": [-1.0, 1.0], "logp:sampler": [(0.0,), (0.0,)]})
    loss = ClippedRatio("A", dual_clip=3.0).loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[3.0], [-1.2]]))
    assert not grad(loss.sum(), batch).any()


def test_sequence_ratio_is_the_geometric_mean_over_counted_tokens(write):
    # log ratios ln 4, 0 and a masked one: mean ln 2, ratio 2; A = -1 is not clipped from above.
    batch = write([[log(4), 0.0, 5.0]], {"A": [-1.0], "logp:sampler": [(0.0, 0.0, 0.0)], "mask": [(1.0, 1.0, 0.0)]})
    loss = ClippedRatio("A", ratio="sequence", reduce="rows").loss(batch, {})
    assert torch.allclose(loss[0, :2], torch.tensor([2.0, 2.0]))
    # mean over the two tokens of r = exp((l1 + l2) / 2): d/dl1 = r / 2 = 1.
    assert torch.allclose(grad(loss[0, :2].mean(), batch), torch.tensor([[1.0, 1.0, 0.0]]))


def test_sequence_token_ratio_has_the_value_of_sequence_and_each_token_its_own_gradient(write):
    columns = {"A": [(-1.0, -3.0)], "logp:sampler": [(0.0, 0.0)]}
    batch = write([[log(4), 0.0]], columns)
    loss = ClippedRatio("A", ratio="sequence_token").loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[2.0, 6.0]]))
    assert torch.allclose(grad(loss.sum(), batch), torch.tensor([[2.0, 6.0]]))


def test_product_ratio_multiplies_over_the_sequence(write, reduce):
    batch = write([[LN2, LN2]], {"A": [-1.0], "logp:sampler": [(0.0, 0.0)]})
    assert reduce(ClippedRatio("A", ratio="product", reduce="rows"), batch).item() == pytest.approx(4.0)


def test_sequence_ratio_equals_token_ratio_on_responses_of_one_token(write, reduce):
    columns = {"A": [1.0, -2.0, 0.5], "logp:sampler": [(-1.0,), (-1.2,), (-0.4,)]}
    losses, grads = [], []
    for kind in ("token", "sequence", "sequence_token", "product"):
        batch = write([[-0.9], [-1.5], [-0.1]], columns)
        loss = reduce(ClippedRatio("A", ratio=kind, reduce="rows"), batch)
        losses.append(loss.item())
        grads.append(grad(loss, batch))
    assert losses == pytest.approx([losses[0]] * 4)
    assert all(torch.allclose(g, grads[0]) for g in grads)
    assert grads[0].any()


@pytest.mark.parametrize("ratio", ["token", "sequence_token"])
@pytest.mark.parametrize("reduce_by, length", [("tokens", None), ("rows", None), ("constant", 7.0), ("sum", None)])
def test_at_equal_policies_the_gradient_is_that_of_reinforce(write, reduce, ratio, reduce_by, length):
    logp = [[-0.5, -1.0, -2.0], [-0.3]]
    columns = {"A": [0.7, -1.1], "logp:sampler": [tuple(r) for r in logp]}
    a, b = write(logp, columns), write(logp, columns)
    clipped = reduce(ClippedRatio("A", reduce=reduce_by, length=length, ratio=ratio), a)
    plain = reduce(PolicyGradient("A", reduce=reduce_by, length=length), b)
    assert torch.allclose(grad(clipped, a), grad(plain, b))
    assert grad(reduce(PolicyGradient("A", reduce=reduce_by, length=length), b), b).any()


def test_policy_gradient_raises_the_log_prob_of_good_rows(write, reduce):
    batch = write([[-1.0], [-1.0]], {"A": [2.0, -2.0]})
    step = -grad(reduce(PolicyGradient("A"), batch), batch)
    assert torch.allclose(step, torch.tensor([[1.0], [-1.0]]))  # A / rows


def test_truncated_weight_corrects_the_sampler_and_is_capped(write):
    # old / sampler = 4 (capped at 2) and 1/2.
    logp = [[0.0, 0.0]]
    batch = write(logp, {"A": [1.0], "logp:sampler": [(-log(4), LN2)]}, logp_old=[[0.0, 0.0]])
    loss = ClippedRatio("A", old="old", truncate=2.0).loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[-2.0, -0.5]]))
    batch = write([[-3.0, -3.0]], {"A": [1.0], "logp:sampler": [(-log(4), LN2)]}, logp_old=[[0.0, 0.0]])
    loss = PolicyGradient("A", truncate=2.0).loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[6.0, 1.5]]))


def test_cispo_keeps_the_gradient_of_clipped_tokens(write):
    # ratio 8, bound 1 + 2: weight 3, loss -3 A logp, gradient -3 A and not 0.
    batch = write([[log(8)], [-log(8)]], {"A": [1.0, 1.0], "logp:sampler": [(0.0,), (0.0,)]})
    loss = Cispo("A", high=2.0).loss(batch, {})
    assert torch.allclose(loss, torch.tensor([[-3 * log(8)], [log(8) / 8]]))
    assert torch.allclose(grad(loss.sum(), batch), torch.tensor([[-3.0], [-0.125]]))
    low = Cispo("A", low=0.5, high=2.0).loss(batch, {})
    assert low[1, 0].item() == pytest.approx(0.5 * log(8))


@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_of_equal_policies_is_zero(write, estimator):
    batch = write([[-0.5, -1.5]], logp_base=[[-0.5, -1.5]])
    assert not KL("base", estimator=estimator).loss(batch, {}).any()


def test_kl_estimators_by_hand(write):
    # d = log pi - log base = ln 2: k1 = ln 2, k2 = ln^2 2 / 2, k3 = 1/2 - 1 + ln 2; gradients 1, d, 1 - exp(-d) = 1/2.
    expected = {"k1": (LN2, 1.0), "k2": (LN2**2 / 2, LN2), "k3": (LN2 - 0.5, 0.5)}
    for estimator, (value, slope) in expected.items():
        batch = write([[LN2]], logp_base=[[0.0]])
        loss = KL("base", estimator=estimator).loss(batch, {})
        assert loss.item() == pytest.approx(value)
        assert grad(loss.sum(), batch).item() == pytest.approx(slope)


def test_kl_correction_multiplies_by_the_ratio_with_gradient(write):
    # r = pi / sampler = 3, k3 = ln 2 - 1/2: value 3 (ln 2 - 1/2), slope 3 (ln 2 - 1/2) + 3 / 2 = 3 ln 2.
    batch = write([[LN2]], {"logp:sampler": [(LN2 - log(3),)]}, logp_base=[[0.0]])
    loss = KL("base", correct="sampler").loss(batch, {})
    assert loss.item() == pytest.approx(3 * (LN2 - 0.5))
    assert grad(loss.sum(), batch).item() == pytest.approx(3 * LN2)


def dist(*p):
    return [[[log(x) for x in p]]]


def test_full_kl_by_hand(write):
    # S = (1/2, 1/2), T = (1/4, 3/4): KL(S || T) = ln 2 / 2 + ln(2/3) / 2.
    batch = write([[0.0]])
    batch._model._others = {"full:base": {"student": torch.tensor(dist(0.5, 0.5)), "teacher": torch.tensor(dist(0.25, 0.75))}}
    assert KL("base", estimator="full").loss(batch, {}).item() == pytest.approx((log(2) + log(2 / 3)) / 2)


@pytest.mark.parametrize("k", [None, 1])
def test_distill_divergences_by_hand(write, k):
    # With two tokens, the likeliest one and the rest are the whole distribution, so k = 1 is exact.
    S, T = (0.5, 0.5), (0.25, 0.75)
    M = (0.375, 0.625)

    def kl(p, q):
        return sum(x * log(x / y) for x, y in zip(p, q, strict=True))

    batch = write([[0.0]])
    cut = {"student": dist(0.5), "student_tail": [[log(0.5)]], "logp": dist(0.75), "tail": [[log(0.25)]]}
    batch._model._others = {
        "full:live:teacher": {"student": torch.tensor(dist(*S)), "teacher": torch.tensor(dist(*T))},
        "topk:teacher:live:1:teacher": {n: torch.tensor(v) for n, v in cut.items()},
    }
    found = {d: Distill(divergence=d, k=k).loss(batch, {}).item() for d in ("forward", "reverse", "jsd")}
    assert found == pytest.approx({"forward": kl(T, S), "reverse": kl(S, T), "jsd": (kl(T, M) + kl(S, M)) / 2}, abs=1e-6)


def test_entropy_is_a_bonus(write, reduce):
    batch = write([[0.0, 0.0]], entropy=[[0.3, 0.5]])
    assert reduce(Entropy(), batch).item() == pytest.approx(-0.4)


def test_nll_weight_scales_tokens_but_not_the_denominator(write, reduce):
    batch = write([[-1.0, -3.0], [-2.0]], {"w": [(1.0, 0.0), 2.0]})
    assert reduce(NLL(), batch).item() == pytest.approx(2.0)
    assert reduce(NLL(weight="w"), batch).item() == pytest.approx((1 + 0 + 4) / 3)


def test_value_loss_is_clipped_around_the_old_values(write):
    # R = 1. V = 0.5 from V_old = 0, c = 0.2: max(0.25, (0.2 - 1)^2) = 0.64; V = 0.1: max(0.81, 0.81).
    batch = write([[0.0, 0.0]], {"returns": [(1.0, 1.0)], "value": [(0.0, 0.0)]}, value=[[0.5, 0.1]])
    assert torch.allclose(ValueLoss(clip=0.2).loss(batch, {}), torch.tensor([[0.32, 0.405]]))
    assert torch.allclose(ValueLoss(clip=None).loss(batch, {}), torch.tensor([[0.125, 0.405]]))


def test_reductions_by_hand(write, reduce):
    # losses 1, 3 | 2 with a masked 100 in the second row.
    logp, mask = [[-1.0, -3.0], [-2.0, -100.0]], {"mask": [(1.0, 1.0), (1.0, 0.0)]}
    expected = {"tokens": 6 / 3, "rows": (2 + 2) / 2, "sum": 6.0}
    for name, value in expected.items():
        assert reduce(NLL(reduce=name), write(logp, mask)).item() == pytest.approx(value)
    assert reduce(NLL(reduce="constant", length=5), write(logp, mask)).item() == pytest.approx(6 / 10)


def test_reductions_agree_where_all_rows_have_length_L(write, reduce):
    logp = [[-1.0, -3.0], [-2.0, -0.5]]
    values = [reduce(NLL(reduce=r, length=n), write(logp)).item() for r, n in (("tokens", None), ("rows", None), ("constant", 2))]
    assert values == pytest.approx([values[0]] * 3)


def test_dapo_of_one_row_with_equal_clips_equals_grpo(write, reduce):
    logp, columns = [[-1.0, -0.2, -3.0]], {"A": [1.3], "logp:sampler": [(-1.1, -0.9, -2.0)]}
    dapo, grpo = ClippedRatio("A", low=0.2, high=0.2, reduce="tokens"), ClippedRatio("A", low=0.2, high=0.2, reduce="rows")
    assert reduce(dapo, write(logp, columns)).item() == pytest.approx(reduce(grpo, write(logp, columns)).item())


def test_masked_infinities_touch_neither_loss_nor_gradient(write, reduce):
    batch = write([[-1.0, 300.0]], {"A": [1.0], "logp:sampler": [(-1.0, -300.0)], "mask": [(1.0, 0.0)]}, logp_base=[[-1.0, 900.0]])
    for term in (ClippedRatio("A"), ClippedRatio("A", ratio="product"), Cispo("A"), KL("base"), KL("base", correct="sampler")):
        loss = reduce(term, batch)
        assert loss.isfinite()
        assert grad(loss, batch).isfinite().all()


def test_where_takes_rows_out_of_loss_and_denominator(write, reduce):
    logp = [[-1.0, -3.0], [-7.0]]
    assert reduce(NLL(where="demo"), write(logp, {"demo": [1.0, 0.0]})).item() == pytest.approx(2.0)
    assert reduce(NLL(where="demo", reduce="rows"), write(logp, {"demo": [(0.0, 1.0), 0.0]})).item() == pytest.approx(3.0)


def test_rows_without_advantage_are_silent_and_masked_advantage_does_not_count(write):
    batch = write([[-1.0, -1.0]] * 3, {"A": [0.0, 1.0, (0.0, 5.0)], "mask": [1.0, 1.0, (1.0, 0.0)], "logp:sampler": [(0.0, 0.0)] * 3})
    for term in (ClippedRatio("A"), Cispo("A"), PolicyGradient("A")):
        assert term.silent(batch).tolist() == [True, False, True]


def test_watch_reports_where_the_clip_removed_the_gradient(write):
    batch = write([[LN2, -LN2], [LN2, -LN2]], {"A": [1.0, -1.0], "logp:sampler": [(0.0, 0.0)] * 2})
    seen = ClippedRatio("A").watch(batch)
    assert seen["clipped_high"].tolist() == [[1, 0], [0, 0]]
    assert seen["clipped_low"].tolist() == [[0, 0], [0, 1]]
    assert seen["kl"][0, 0].item() == pytest.approx(exp(-LN2) - 1 + LN2)


def test_ratio_to_the_sampler_needs_its_log_probs(write):
    batch = write([[-1.0]], {"A": [1.0]})
    with pytest.raises(UserError, match=r"sample s0 has no sampler log-probs .*use old: old"):
        ClippedRatio("A").loss(batch, {})


def test_unknown_column_names_the_nearest(write):
    with pytest.raises(UserError, match="sample s0 has no column 'outcom'; did you mean 'outcome'"):
        PolicyGradient("outcom").loss(write([[-1.0]], {"outcome": [1.0]}), {})


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ClippedRatio("A", reduce="token"), "did you mean 'tokens'"),
        (lambda: ClippedRatio("A", reduce="constant"), "length .* must be given"),
        (lambda: ClippedRatio("A", length=4), "only reduce: constant uses it"),
        (lambda: ClippedRatio("A", low=-0.1), "low is -0.1"),
        (lambda: ClippedRatio("A", ratio="sequnce"), "did you mean 'sequence'"),
        (lambda: ClippedRatio("A", dual_clip=0.5), "expected more than 1"),
        (lambda: ClippedRatio("A", truncate=2.0), "give old: old"),
        (lambda: KL("solver@base", estimator="k4"), "estimator is 'k4'"),
        (lambda: KL("solver@base", coef=-1.0), "coef is -1"),
        (lambda: Distill(weight=1.0), "strictly between 0 and 1"),
        (lambda: Distill(k=0), "k is 0"),
        (lambda: NLL(reduce="mean"), "reduce is 'mean'"),
    ],
)
def test_impossible_settings_are_refused_in_one_line(make, message):
    with pytest.raises(UserError, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)
