"""DPO, IPO and SimPO: hand-worked numbers, identities, masks, gradients."""

from __future__ import annotations

import math

import pytest
import torch

from selfevo.errors import UserError
from selfevo.objectives.dpo import DPO
from selfevo.objectives.ipo import IPO
from selfevo.objectives.simpo import SimPO

TO = "solver@base"
TERMS = [DPO(TO), DPO(TO, label_smoothing=0.2), IPO(TO), IPO(TO, ratio="mean"), SimPO()]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def test_dpo_hand_worked(batch):
    b = batch([[-1.0, -1.0], [-2.0, -3.0]], [[-1.5, -2.0], [-1.0, -2.0]])  # log-ratios 1.5 and -2
    assert DPO(TO, beta=0.5).loss(b, {}).tolist() == pytest.approx([-math.log(sigmoid(0.5 * 3.5))], abs=1e-12)
    smooth = -0.9 * math.log(sigmoid(1.75)) - 0.1 * math.log(sigmoid(-1.75))
    assert DPO(TO, beta=0.5, label_smoothing=0.1).loss(b, {}).tolist() == pytest.approx([smooth], abs=1e-12)


def test_dpo_at_equal_policies_is_ln_2_with_gradient_of_half_beta(batch):
    logp = torch.tensor([[-1.0, -2.0], [-0.5, -0.1]], dtype=torch.float64, requires_grad=True)
    loss = DPO(TO, beta=0.3).loss(batch(logp, logp.detach()), {})
    assert loss.tolist() == pytest.approx([math.log(2)], abs=1e-15)
    loss.sum().backward()
    assert logp.grad.tolist() == [pytest.approx([-0.15, -0.15]), pytest.approx([0.15, 0.15])]


def test_dpo_of_a_pair_and_its_swap_differ_by_the_scaled_margin(random_batch):
    b = random_batch()
    swapped = random_batch()
    swapped._units = swapped._units.flip(1)
    h = ((b.logp - b.ref) * b.mask).sum(1).reshape(-1, 2)
    difference = DPO(TO, beta=0.4).loss(swapped, {}) - DPO(TO, beta=0.4).loss(b, {})
    torch.testing.assert_close(difference, 0.4 * (h[:, 0] - h[:, 1]))


def test_label_smoothing_mixes_the_pair_with_its_swap(random_batch):
    b, swapped = random_batch(), random_batch()
    swapped._units = swapped._units.flip(1)
    mixed = 0.7 * DPO(TO).loss(b, {}) + 0.3 * DPO(TO).loss(swapped, {})
    torch.testing.assert_close(DPO(TO, label_smoothing=0.3).loss(b, {}), mixed)


def test_dpo_needs_only_what_it_names():
    assert DPO("solver@base").needs == frozenset({"logp:solver@base"})
    assert SimPO().needs == frozenset()


def test_ipo_hand_worked_and_zero_at_its_target(batch):
    b = batch([[-1.0, -1.0], [-2.0, -3.0]], [[-1.5, -2.0], [-1.0, -2.0]])  # h = 3.5
    assert IPO(TO, beta=0.5).loss(b, {}).tolist() == [2.5**2]
    assert IPO(TO, beta=0.5, ratio="mean").loss(b, {}).tolist() == [(1.75 - 1.0) ** 2]
    assert IPO(TO, beta=1 / 7).loss(b, {}).tolist() == pytest.approx([0.0], abs=1e-24)


def test_ipo_at_equal_policies_is_its_squared_target(random_batch):
    b = random_batch()
    b.ref = b.logp
    for ratio in ("sum", "mean"):
        torch.testing.assert_close(IPO(TO, beta=0.25, ratio=ratio).loss(b, {}), torch.full((3,), 4.0, dtype=torch.float64))


def test_simpo_hand_worked(batch):
    b = batch([[-1.0, -2.0], [-4.0, 99.0]], mask=[[1, 1], [1, 0]])  # means -1.5 and -4
    assert SimPO(beta=2.0, gamma=1.0).loss(b, {}).tolist() == pytest.approx([-math.log(sigmoid(2 * 2.5 - 1))], abs=1e-12)


def test_simpo_does_not_read_a_reference(random_batch):
    b = random_batch()
    before = SimPO().loss(b, {})
    b.ref = b.ref * 7
    assert torch.equal(SimPO().loss(b, {}), before)


@pytest.mark.parametrize("term", TERMS, ids=lambda t: f"{type(t).__name__}-{getattr(t, 'ratio', '')}")
def test_raising_the_chosen_and_lowering_the_rejected_response_lowers_the_loss(random_batch, term):
    b = random_batch(seed=3)
    b.logp.requires_grad_()
    (gradient,) = torch.autograd.grad(term.loss(b, {}).sum(), b.logp)
    per_row = (gradient * b.mask).sum(1).reshape(-1, 2)
    assert (per_row[:, 0] < 0).all()
    assert (per_row[:, 1] > 0).all()
    assert (gradient[b.mask == 0] == 0).all()


@pytest.mark.parametrize("term", TERMS, ids=lambda t: f"{type(t).__name__}-{getattr(t, 'ratio', '')}")
def test_padding_order_and_splits_change_no_pairs_loss(random_batch, term):
    b = random_batch(pairs=4)
    whole = term.loss(b, {})
    split = torch.cat([term.loss(b.rows([0, 1]), {}), term.loss(b.rows([2, 3, 4, 5, 6, 7]), {})])
    torch.testing.assert_close(split, whole)
    torch.testing.assert_close(term.loss(b.rows([4, 5, 0, 1]), {}), whole[[2, 0]])
    wide = b.rows(list(range(8)))
    wide.logp, wide.ref, wide.mask = (torch.nn.functional.pad(x, (0, 3)) for x in (b.logp, b.ref, b.mask))
    torch.testing.assert_close(term.loss(wide, {}), whole)


def test_infinite_log_probs_under_the_mask_do_no_harm(random_batch):
    b = random_batch()
    whole = DPO(TO).loss(b, {})
    b.ref = torch.where(b.mask == 0, -torch.inf, b.ref)
    torch.testing.assert_close(DPO(TO).loss(b, {}), whole)


def test_watched_accuracy_is_the_share_of_pairs_in_order(batch):
    b = batch([[-1.0], [-2.0], [-2.0], [-1.0]])
    assert DPO(TO).watch(b)["accuracy"].tolist() == [1, 1, 0, 0]
    assert DPO(TO, beta=0.5).watch(b)["margin"].tolist() == [0.5, 0.5, -0.5, -0.5]


def test_units_that_are_no_pairs_are_refused(batch):
    b = batch([[-1.0], [-2.0], [-2.0]], units=[[0, 1, 2]])
    with pytest.raises(UserError, match="units of two rows"):
        DPO(TO).loss(b, {})


def test_bad_settings_are_named():
    with pytest.raises(UserError, match=r"DPO: label_smoothing is 0\.5"):
        DPO(TO, label_smoothing=0.5)
    with pytest.raises(UserError, match="DPO: beta is -1, expected at least 0"):
        DPO(TO, beta=-1)
    with pytest.raises(UserError, match="IPO: beta is 0, expected a number above 0"):
        IPO(TO, beta=0)
    with pytest.raises(UserError, match="IPO: ratio is 'men'; did you mean 'mean'"):
        IPO(TO, ratio="men")
