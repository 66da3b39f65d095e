"""KTO: its reference point, its weights, and its independence of how rows fall into micro-batches."""

from __future__ import annotations

import math

import pytest
import torch

from selfevo.errors import UserError
from selfevo.objectives.kto import KTO

TO = "solver@base"


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def mean_loss(term, b):
    return term.loss(b, term.stats(b)).mean().item()


def test_kto_hand_worked(batch):
    # rows: good (R = 2), its twin (R = 1), bad (R = -1), its twin (R = 0): z0 = 1/2
    b = batch([[2.0], [1.0], [-1.0], [0.0]], label=[1, 0, -1, 0], kl=[0, 1, 0, 1])
    term = KTO(TO, beta=0.5, desirable=2.0, undesirable=3.0)
    stats = term.stats(b)
    assert (stats["z0"].item(), stats["scale"].item()) == (0.5, 2.0)
    good, bad = 2 * (1 - sigmoid(0.5 * 1.5)), 3 * (1 - sigmoid(0.5 * 1.5))
    assert term.loss(b, stats).tolist() == pytest.approx([2 * good, 0, 2 * bad, 0], abs=1e-12)
    assert mean_loss(term, b) == pytest.approx((good + bad) / 2, abs=1e-12)


def test_at_equal_policies_the_loss_is_half_the_weight(random_batch):
    b = random_batch(pairs=2, label=[1, 0, -1, 0], kl=[0, 1, 0, 1])
    b.ref = b.logp
    term = KTO(TO, desirable=1.5, undesirable=0.5)
    assert term.loss(b, term.stats(b)).tolist() == pytest.approx([1.5, 0, 0.5, 0], abs=1e-12)  # scale 2
    assert mean_loss(KTO(TO), b) == 0.5


def test_the_reference_point_is_never_negative_and_zero_without_twins(batch):
    b = batch([[2.0], [-3.0]], label=[1, 0], kl=[0, 1])
    assert KTO(TO).stats(b)["z0"].item() == 0.0
    alone = batch([[2.0], [1.0]], label=[1, -1], kl=[0, 0])
    stats = KTO(TO).stats(alone)
    assert (stats["z0"].item(), stats["scale"].item()) == (0.0, 1.0)


def test_the_reference_point_has_no_gradient(batch):
    logp = torch.tensor([[2.0], [1.0]], dtype=torch.float64, requires_grad=True)
    b = batch(logp, label=[1, 0], kl=[0, 1])
    term = KTO(TO)
    term.loss(b, term.stats(b)).sum().backward()
    assert logp.grad[1].item() == 0.0
    assert logp.grad[0].item() < 0


def test_flipping_labels_flips_the_sign_of_the_gradient(random_batch):
    gradients = []
    for sign in (1, -1):
        b = random_batch(pairs=2, label=[sign, 0, -sign, 0], kl=[0, 1, 0, 1])
        b.logp.requires_grad_()
        term = KTO(TO)
        gradients.append(torch.autograd.grad(term.loss(b, term.stats(b)).sum(), b.logp)[0].sum(1).sign().tolist())
    assert gradients[0] == [-x for x in gradients[1]] == [-1, 0, 1, 0]


def test_statistics_of_the_whole_batch_make_splits_agree(random_batch):
    b = random_batch(pairs=3, label=[1, 0, -1, 0, -1, 0], kl=[0, 1, 0, 1, 0, 1])
    term = KTO(TO)
    stats = term.stats(b)
    parts = [term.loss(b.rows(i), stats) for i in ([0, 1], [2, 3, 4, 5])]
    torch.testing.assert_close(torch.cat(parts), term.loss(b, stats))


def test_bad_weights_are_named():
    with pytest.raises(UserError, match="KTO: undesirable is -1"):
        KTO(TO, undesirable=-1)
