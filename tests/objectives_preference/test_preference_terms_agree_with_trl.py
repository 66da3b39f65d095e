"""The same log-probs through TRL's own loss code give the same numbers to 1e-6.

TRL computes its losses in methods of its trainers. They are called on an object that holds the settings they read, with a
model whose outputs are the log-probs of the batch, so that both sides see the very same numbers.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import pytest
import torch

from selfevo.objectives.dpo import DPO
from selfevo.objectives.ipo import IPO
from selfevo.objectives.kto import KTO
from selfevo.objectives.simpo import SimPO

TO = "solver@base"
pytest.importorskip("trl")


class Model:
    """A model whose forward passes return given log-probs [B, T], told apart by the mark in `input_ids`."""

    training = True

    def __init__(self, logps):
        self.logps = logps

    def __call__(self, input_ids, **_):
        logp = self.logps[int(input_ids[0, 0])]
        unused = torch.zeros_like(logp)  # what only TRL's metrics read
        return SimpleNamespace(log_probs=logp, entropy=unused, mean_logits=unused, is_top1=unused.bool())


def settings(model, **more):
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)
    metrics = {"train": defaultdict(list), "eval": defaultdict(list)}
    return SimpleNamespace(
        model=model, accelerator=accelerator, aux_loss_enabled=False, precompute_ref_logps=True, _metrics=metrics,
        _total_train_tokens=0, _tp_size=1, **more,
    )  # fmt: skip


def inputs(mask, mark=0):
    """TRL's masks have a column for the prompt in front; the first input id tells the model which log-probs are meant."""
    full = torch.cat([torch.zeros(len(mask), 1), mask], 1)
    ids = torch.full(full.shape, mark, dtype=torch.int64)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "completion_mask": full}


def dpo_of_trl(batch, loss_type, **more):
    from trl import DPOTrainer

    order = torch.cat([batch.units()[:, 0], batch.units()[:, 1]])  # TRL: all chosen, then all rejected
    mask, ref = batch.mask[order], (batch.ref * batch.mask).sum(1)[order]
    trainer = settings(
        Model([(batch.logp * batch.mask)[order]]),
        ld_alpha=None, f_divergence_type="reverse_kl", loss_types=[loss_type], loss_weights=[1.0],
        use_weighting=False, **more,
    )  # fmt: skip
    chosen, rejected = ref.chunk(2)
    given = {**inputs(mask), "ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    return DPOTrainer._compute_loss(trainer, trainer.model, given, False).item()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("beta", [0.1, 0.5])
def test_dpo(random_batch, beta, seed):
    b = random_batch(pairs=5, seed=seed)
    assert DPO(TO, beta=beta).loss(b, {}).mean().item() == pytest.approx(dpo_of_trl(b, "sigmoid", beta=beta, label_smoothing=0.0), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_smoothed_dpo_is_robust_dpo_up_to_its_debiasing(random_batch, seed):
    # TRL has the unbiased form ((1 - e) l - e l') / (1 - 2 e); ours is (1 - e) l + e l'. l and l' are the loss of a pair and its swap.
    b, e = random_batch(pairs=5, seed=seed), 0.1
    plain, swapped = dpo_of_trl(b, "sigmoid", beta=0.3, label_smoothing=0.0), random_batch(pairs=5, seed=seed)
    swapped._units = swapped._units.flip(1)
    other = (((1 - e) * plain) - (1 - 2 * e) * dpo_of_trl(b, "robust", beta=0.3, label_smoothing=e)) / e
    assert DPO(TO, beta=0.3).loss(swapped, {}).mean().item() == pytest.approx(other, abs=1e-6)
    assert DPO(TO, beta=0.3, label_smoothing=e).loss(b, {}).mean().item() == pytest.approx((1 - e) * plain + e * other, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_ipo_with_mean_log_ratios(random_batch, seed):
    b = random_batch(pairs=5, seed=seed)
    ours = IPO(TO, beta=0.2, ratio="mean").loss(b, {}).mean().item()
    assert ours == pytest.approx(dpo_of_trl(b, "ipo", beta=0.2, label_smoothing=0.0), abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_simpo(random_batch, seed):
    from trl.experimental.cpo import CPOTrainer

    b = random_batch(pairs=5, seed=seed)
    mean = (b.logp * b.mask).sum(1) / b.mask.sum(1)
    trainer = settings(None, alpha=0.0, loss_type="simpo", simpo_gamma=0.7, beta=2.5, label_smoothing=0.0)
    losses, chosen, rejected = CPOTrainer.cpo_loss(trainer, mean[b.units()[:, 0]], mean[b.units()[:, 1]])
    torch.testing.assert_close(SimPO(beta=2.5, gamma=0.7).loss(b, {}), losses, atol=1e-6, rtol=0)
    torch.testing.assert_close(SimPO(beta=2.5).watch(b)["margin"][::2], chosen - rejected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("seed", range(3))
def test_kto(random_batch, seed):
    from trl import KTOTrainer

    labels = [1.0, -1.0, -1.0, 1.0, 1.0]
    spread = [x for label in labels for x in (label, 0.0)]
    b = random_batch(pairs=5, seed=seed, label=spread, kl=[0.0, 1.0] * 5)
    real, twin = (b.logp * b.mask)[::2], (b.logp * b.mask)[1::2]
    ref = (b.ref * b.mask).sum(1)
    trainer = settings(Model([real, twin]), calculate_KL=True, beta=0.3, loss_type="kto", desirable_weight=1.3, undesirable_weight=0.8)
    trainer._compute_kl_logps = lambda model, given: KTOTrainer._compute_kl_logps(trainer, model, given)
    given = {**inputs(b.mask[::2]), **{f"KL_{k}": v for k, v in inputs(b.mask[1::2], mark=1).items()}}
    given |= {"label": torch.tensor(labels) > 0, "ref_logps": ref[::2], "ref_KL_logps": ref[1::2]}
    theirs = KTOTrainer._compute_loss(trainer, trainer.model, given, False).item()
    term = KTO(TO, beta=0.3, desirable=1.3, undesirable=0.8)
    assert term.loss(b, term.stats(b)).mean().item() == pytest.approx(theirs, abs=1e-6)
    assert term.stats(b)["z0"].item() == pytest.approx(trainer._metrics["train"]["kl"][0], abs=1e-6)
