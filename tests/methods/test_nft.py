"""NFT: identities A, B and C of its card, the clamp, the sequence variant, and the independence of micro-batches."""

from __future__ import annotations

import math

import pytest
import torch
from double import exact_norms
from learner_bench import near, tiny_policy
from method_bench import Plain, columns, gradient, scored, slope, summed

from selfevo.advantages import GroupNorm, GroupRate, Raw
from selfevo.errors import UserError
from selfevo.objectives import NFT, NLL, ClippedRatio, PolicyGradient

GROUPS = {"a": [1.0, 0.0, 0.0, 1.0, 0.0], "b": [0.0, 1.0, 1.0, 1.0], "c": [0.0, 1.0]}
COLUMNS = {"correct": Raw(), "rate": GroupRate(low=0.02, high=0.98)}


@pytest.fixture(autouse=True, scope="module")
def in_double():
    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


def close(a, b):
    return float((a - b).abs().max()) <= 1e-6 and float(b.abs().max()) > 1e-2


def drawn(seed=0, T=6):
    """Log-probs [B, T] of the policy and, a little off, of the sampler; labels and rates of `GROUPS`."""
    samples, rows = scored(GROUPS)
    generator = torch.Generator().manual_seed(seed)
    logp = -torch.rand(len(rows), T, generator=generator, dtype=torch.float64) * 3
    old = logp + torch.randn(logp.shape, generator=generator, dtype=torch.float64) * 0.3
    mask = (torch.rand(logp.shape, generator=generator) < 0.8).double()
    mask[:, 0] = 1
    return logp, old, mask, {name: columns(part, samples, rows) for name, part in COLUMNS.items()}


@pytest.mark.parametrize("normalize, std, name", [(1, "none", "Dr. GRPO"), (2, "population", "GRPO")])
def test_identity_a_on_policy_the_gradient_is_that_of_dr_grpo_and_of_grpo(normalize, std, name):
    samples, rows = scored(GROUPS)
    advantage = {"A": GroupNorm(std=std, eps=0.0)}
    ours = gradient(samples, rows, {"nft": NFT(old="old", normalize=normalize, length=10.0)}, COLUMNS)
    reinforce = gradient(samples, rows, {"pg": PolicyGradient("A", reduce="constant", length=10.0)}, advantage)
    clipped = gradient(samples, rows, {"pg": ClippedRatio("A", old="old", reduce="constant", length=10.0)}, advantage)
    assert close(ours, reinforce) and close(ours, clipped)
    other = gradient(samples, rows, {"nft": NFT(old="old", normalize=3 - normalize, length=10.0)}, COLUMNS)
    assert not close(other, reinforce)


@pytest.mark.parametrize("normalize, std", [(1, "none"), (2, "population")])
def test_identity_a_to_the_last_digit(normalize, std):
    samples, rows = scored(GROUPS)
    logp, _, mask, made = drawn()
    made["A"] = columns(GroupNorm(std=std, eps=0.0), samples, rows)
    batch = Plain(logp, mask, made)
    expected = slope(PolicyGradient("A"), batch)
    assert torch.allclose(slope(NFT(old="live", normalize=normalize), batch), expected, atol=1e-13, rtol=0)


def test_identity_b_without_the_wrong_branch_it_is_sft_on_right_answers():
    policy = tiny_policy(dtype=torch.float64)
    samples, rows = scored(GROUPS, near(policy))  # log R differs from log pi by a constant: off-policy too
    rft = gradient(samples, rows, {"nft": NFT(neg_weight=0.0, normalize=0, reduce="sum")}, COLUMNS)
    right = [s for s in samples if rows[s.row].reward("score") == 1.0]
    assert close(rft, gradient(right, rows, {"nll": NLL(reduce="sum")}))
    assert not close(gradient(samples, rows, {"nft": NFT(normalize=0, reduce="sum")}, COLUMNS), rft)


def test_identity_c_a_wrong_token_beyond_the_clamp_keeps_its_gradient():
    q, R = 0.4, 1.7
    batch = Plain([[math.log(R) - 1.0]], columns={"correct": [0.0], "rate": [q]}, logp_sampler=[[-1.0]])
    for normalize, w in ((0, 1.0), (1, 1 - q), (2, math.sqrt((1 - q) / q))):
        assert slope(NFT(normalize=normalize), batch).item() == pytest.approx(w * q / (1 - q) * R, abs=1e-12)
    p = (1 - q * batch.theta.exp() / math.exp(-1)) / (1 - q)
    assert not torch.autograd.grad(p.clamp(min=1.0).log().sum(), batch.theta)[0].any()  # what a plain clamp would give


@pytest.mark.parametrize("clamp", [1.0, 0.5, 0.1])
def test_the_wrong_branch_has_the_gradient_the_card_states(clamp):
    logp, old, _, made = drawn()
    made["correct"] = [0.0] * len(logp)
    batch = Plain(logp, columns=made, logp_sampler=old)
    q, R = torch.tensor(made["rate"]).unsqueeze(1), (logp - old).exp()
    w = 1 - q
    assert torch.allclose(slope(NFT(clamp=clamp), batch), w * q * R / torch.maximum(1 - q * R, clamp * (1 - q)), atol=1e-12)
    value = -(1 - q) * ((1 - q * R) / (1 - q)).clamp(min=clamp).log()
    assert torch.allclose(NFT(clamp=clamp).loss(batch, {}), value, atol=1e-12)


def test_the_bayes_split_holds_under_the_implied_negative_policy():
    # pi_old = q pi_theta + (1 - q) pi_minus over a vocabulary, where pi_minus = P pi_old
    generator = torch.Generator().manual_seed(1)
    old, q = torch.softmax(torch.randn(7, generator=generator, dtype=torch.float64), 0), 0.3
    minus = torch.softmax(torch.randn(7, generator=generator, dtype=torch.float64), 0)
    theta = (old - (1 - q) * minus) / q
    theta = torch.where(theta > 0, theta, 1e-3)
    batch = Plain(theta.log().unsqueeze(1), columns={"correct": [0.0] * 7, "rate": [q] * 7}, logp_sampler=old.log().unsqueeze(1))
    p = (-NFT(normalize=0, clamp=1e-9).loss(batch, {})).exp().squeeze(1)
    assert torch.allclose(q * theta + (1 - q) * p * old, old, atol=1e-12)


def test_neg_weight_scales_the_wrong_branch_alone():
    logp, old, mask, made = drawn()
    batch = Plain(logp, mask, made, logp_sampler=old)
    full, half, none = (slope(NFT(neg_weight=w), batch) for w in (1.0, 0.5, 0.0))
    assert torch.allclose(half, (full + none) / 2, atol=1e-14)
    right = torch.tensor(made["correct"]) == 1
    assert torch.equal(full[right], none[right]) and not none[~right].any()


def test_the_sequence_variant_takes_the_product_over_tokens():
    logp, old, mask, made = drawn()
    term = NFT(ratio="sequence", reduce="sum")
    batch = Plain(logp, mask, made, logp_sampler=old)
    log_r, y, q = ((logp - old) * mask).sum(1), torch.tensor(made["correct"]), torch.tensor(made["rate"])
    expected = (1 - q) * (-y * log_r - (1 - y) * ((1 - q * log_r.exp()) / (1 - q)).clamp(min=1.0).log())
    assert torch.allclose(term.loss(batch, {}), expected, atol=1e-12)
    single = Plain(logp[:, :1], columns=made, logp_sampler=old[:, :1])  # of one token it is the token variant
    assert torch.allclose(slope(term, single), slope(NFT(), single), atol=1e-14)
    samples, rows = scored(GROUPS)
    on_policy = gradient(samples, rows, {"nft": NFT(old="old", ratio="sequence", reduce="sum")}, COLUMNS)
    assert close(on_policy, gradient(samples, rows, {"nft": NFT(old="old", reduce="sum")}, COLUMNS))


def test_log_ratios_are_cut_above_the_limit():
    batch = Plain([[12.0]], columns={"correct": [1.0], "rate": [0.5]}, logp_sampler=[[0.0]])
    assert NFT(normalize=0).loss(batch, {}).item() == -10.0
    assert not slope(NFT(normalize=0), batch).any()


def test_the_released_codes_reduction_is_a_sum_over_a_thousand():
    logp, old, mask, made = drawn()
    batch = Plain(logp, mask, made, logp_sampler=old)
    constant = summed(NFT(), batch) / (batch.size * 1000.0)
    assert NFT().length == 1000.0 and NFT().reduce == "constant"
    assert (summed(NFT(reduce="sum"), batch) / 1000.0 / batch.size).item() == pytest.approx(constant.item(), abs=1e-15)


def test_masked_tokens_and_padding_change_nothing():
    logp, old, mask, made = drawn()
    term = NFT()
    here = summed(term, Plain(logp, mask, made, logp_sampler=old)).item()
    wild = torch.where(mask == 0, torch.tensor(1e4, dtype=torch.float64), logp)
    assert summed(term, Plain(wild, mask, made, logp_sampler=old)).item() == here
    wider = [torch.nn.functional.pad(t, (0, 3)) for t in (logp, mask, old)]
    assert summed(term, Plain(wider[0], wider[1], made, logp_sampler=wider[2])).item() == pytest.approx(here, abs=1e-13)


@pytest.mark.parametrize("ratio", ["token", "sequence"])
def test_neither_micro_batches_nor_the_order_of_rows_matter(ratio):
    policy = tiny_policy(dtype=torch.float64)
    samples, rows = scored(GROUPS, near(policy, scale=0.1))
    objective = {"nft": NFT(ratio=ratio, reduce="sum")}
    whole = gradient(samples, rows, objective, COLUMNS)
    assert close(gradient(samples, rows, objective, COLUMNS, micro_tokens=40), whole)
    assert close(gradient(samples[::-1], rows, objective, COLUMNS), whole)


def test_the_rate_is_the_groups_mean_within_its_bounds():
    samples, rows = scored({**GROUPS, "all": [1.0, 1.0], "none": [0.0]})
    rates = columns(GroupRate(low=0.02, high=0.98), samples, rows)
    assert rates == [0.4] * 5 + [0.75] * 4 + [0.5] * 2 + [0.98] * 2 + [0.02]
    assert columns(GroupRate(), samples, rows)[-3:] == [1.0, 1.0, 0.0]
    few = columns(GroupRate(), samples[:2], rows)  # over samples: only the two rows that became samples count
    assert (few, columns(GroupRate(over="rows"), samples[:2], rows)) == ([0.5, 0.5], [0.4, 0.4])


def test_bad_settings_are_one_line():
    for settings in ({"normalize": 3}, {"neg_weight": -1.0}, {"clamp": 0.0}, {"ratio": "tokens"}, {"length": 5.0, "reduce": "sum"}):
        with pytest.raises(UserError, match="NFT"):
            NFT(**settings)
    with pytest.raises(UserError, match="low <= high"):
        GroupRate(low=0.9, high=0.1)
    samples, rows = scored({"a": [-1.0, 1.0]})
    with pytest.raises(UserError, match="rewards in"):
        columns(GroupRate(), samples, rows)


def test_rows_without_a_say_are_skipped_and_a_batch_of_them_makes_no_step():
    samples, rows = scored({"a": [0.0, 0.0, 0.0]})
    from method_bench import Named, learner

    made = learner(samples, {"nft": NFT(neg_weight=0.0, old="old")}, COLUMNS)
    assert made.update(tiny_policy(), rows, Named()) is None
