"""Where they overlap, a step of the Learner and one of TRL have the same loss and the same gradient on the same rows.

The gradients are read off whole updates: AdamW's first moment on the Learner's side, a step of gradient descent at rate 1 on TRL's. So
builders, padding, masks, references and batching are held against each other too, not the loss code alone.
"""

from __future__ import annotations

import pytest
import torch
from double import exact_norms

from selfevo.errors import UserError
from selfevo.learner import Learner
from selfevo.objectives import DPO, KTO, NLL
from selfevo.samples import Labelled, Pairs, PolicyTurns
from selfevo.trl import Dpo, Kto, Sft


@pytest.fixture(autouse=True, scope="module")
def in_double():
    """Float64 models are that throughout, but for TRL's output layer, which sums in single precision."""
    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


def ours(bench, samples, objective, rows, base):
    policy = bench.small(double=True)
    ctx = bench.Ctx({"solver@base": base})
    learner = Learner(samples, objective, clip_norm=None, lr=0.0, betas=(0.0, 0.999), micro_tokens=60)
    assert learner.update(policy, rows, ctx) is not None
    moments = learner.state_dict()["learned"]["weights"]["moments"]
    return ctx.metrics["train/loss"], {n.removeprefix("model."): m["exp_avg"] for n, m in moments.items()}


def theirs(bench, optimizer, rows, base):
    policy = bench.small(double=True)
    ctx, before = bench.Ctx({"solver@base": base}), bench.tensors(policy)
    assert optimizer.update(policy, rows, ctx) is not None
    assert ctx.metrics["train/steps"] == 1
    return ctx.metrics["train/loss"], {n: before[n] - p.detach() for n, p in policy.model.named_parameters()}


def agree(mine, other):
    assert mine[0] == pytest.approx(other[0], abs=1e-6 * max(1.0, abs(other[0])))
    assert set(mine[1]) == set(other[1])
    scale = max(g.abs().max().item() for g in other[1].values())
    assert scale > 1e-3
    for name, gradient in other[1].items():
        assert (mine[1][name] - gradient).abs().max() <= 1e-6 * max(1.0, scale), name


@pytest.mark.parametrize("device_batch", [64, 3], ids=["one batch", "accumulated"])
def test_supervised_loss_and_gradient(bench, exact_step, device_batch):
    rows, samples = bench.ragged(9), {"turns": PolicyTurns(reward=None, temperature=1.0)}
    exact_step |= {"per_device_train_batch_size": device_batch, "gradient_accumulation_steps": 9 // min(device_batch, 9)}
    agree(ours(bench, samples, {"nll": NLL()}, rows, None), theirs(bench, Sft(samples, exact_step), rows, None))


@pytest.mark.parametrize("beta", [0.1, 0.4])
def test_preference_loss_and_gradient(bench, exact_step, beta):
    base, rows, samples = bench.near(bench.small(double=True)), bench.ragged(12, group=2), {"pairs": Pairs()}
    mine = ours(bench, samples, {"dpo": DPO("solver@base", beta=beta)}, rows, base)
    agree(mine, theirs(bench, Dpo(samples, "solver@base", {**exact_step, "beta": beta}), rows, base))


def test_labelled_loss_and_gradient(bench, exact_step):
    base, rows, samples = bench.near(bench.small(double=True)), bench.ragged(9), {"labelled": Labelled()}
    mine = ours(bench, samples, {"kto": KTO("solver@base", beta=0.3, desirable=1.3, undesirable=0.8)}, rows, base)
    settings = {**exact_step, "beta": 0.3, "desirable_weight": 1.3, "undesirable_weight": 0.8}
    agree(mine, theirs(bench, Kto(samples, "solver@base", settings), rows, base))


def test_padding_to_a_multiple_changes_nothing(bench, exact_step):
    base, rows, samples = bench.near(bench.small(double=True)), bench.ragged(12, group=2), {"pairs": Pairs()}
    plain = theirs(bench, Dpo(samples, "solver@base", exact_step), rows, base)
    agree(theirs(bench, Dpo(samples, "solver@base", {**exact_step, "pad_to_multiple_of": 16}), rows, base), plain)


def test_what_is_cut_is_what_trl_would_cut(bench, exact_step):
    rows, samples = bench.ragged(9), {"turns": PolicyTurns(reward=None, temperature=1.0)}
    ctx, policy = bench.Ctx(), bench.small(double=True)
    Sft(samples, {**exact_step, "max_length": 9}).update(policy, rows, ctx)
    built = [(len(s.contexts["train"]), len(s.contexts["train"]) + len(s.response)) for s in samples["turns"].build(rows, bench.Ctx())]
    assert ctx.metrics["train/cut"] == sum(total > 9 for _, total in built) > 0
    assert ctx.metrics["train/num_tokens"] == sum(min(total, 9) for context, total in built if context < 9)


def test_other_temperatures_and_weights_are_refused(bench, exact_step):
    rows = bench.ragged(3)
    with pytest.raises(UserError, match=r"is read at temperature 0\.5, but TRL reads at 1"):
        Sft({"turns": PolicyTurns(reward=None, temperature=0.5)}, exact_step).update(bench.small(), rows, bench.Ctx())


def test_a_step_in_single_precision_agrees_to_its_rounding(bench, exact_step):
    rows, samples = bench.ragged(9), {"turns": PolicyTurns(reward=None, temperature=1.0)}
    policy, ctx = bench.small(), bench.Ctx()
    before = bench.tensors(policy)
    Sft(samples, exact_step).update(policy, rows, ctx)
    moved = {n: before[n] - p.detach() for n, p in policy.model.named_parameters()}
    loss, gradients = ours(bench, samples, {"nll": NLL()}, rows, None)
    assert ctx.metrics["train/loss"] == pytest.approx(loss, abs=2e-6)
    for name, gradient in gradients.items():
        assert torch.allclose(moved[name].double(), gradient, atol=2e-6), name
