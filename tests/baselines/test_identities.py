"""What is equal on paper is equal at the end of a run, down to the files where it must be."""

from __future__ import annotations

import pytest
import torch
from real_runs import STEP_IS_GRADIENT, gradients

NO_KL = ["optimizer.objective.kl.coef=0.0"]


def stacked(tensors):
    return torch.cat([tensors[name].flatten() for name in sorted(tensors)])


def close(a, b):
    """Largest difference of two gradients, relative to the largest entry."""
    return float((stacked(a) - stacked(b)).abs().max() / stacked(b).abs().max())


def test_the_gradient_read_off_the_weights_has_the_norm_that_the_run_logged(bandit, start):
    run = bandit("optimizer=rloo", *STEP_IS_GRADIENT)
    assert float(stacked(gradients(run, start)).norm()) == pytest.approx(run.metric("train", "train/grad_norm")[0], rel=1e-5)


@pytest.mark.parametrize("group", [2, 8])
def test_rloo_is_grpo_without_std_times_n_over_n_minus_1(bandit, start, group):
    sizes = ["scale.tasks=2", f"scale.group={group}"]
    rloo = gradients(bandit("optimizer=rloo", *NO_KL, *STEP_IS_GRADIENT, *sizes), start)
    sums = ["optimizer.objective.pg.reduce=constant", "optimizer.objective.pg.length=1.0"]
    grpo = gradients(bandit("optimizer=grpo", "optimizer.advantage.outcome.std=none", *sums, *NO_KL, *STEP_IS_GRADIENT, *sizes), start)
    scaled = {name: g * group / (group - 1) for name, g in grpo.items()}
    assert close(rloo, scaled) < 1e-5
    assert close(rloo, grpo) > 0.1  # the factor is there to be seen


def test_dapo_with_one_clip_bound_and_replies_of_one_length_is_grpo_without_kl(bandit, start):
    def gradient(max_tokens, *overrides):
        sizes = [f"scale.max_tokens={max_tokens}", f"roles.solver.max_tokens={max_tokens}", "scale.tasks=8", "verifier.hit.pattern='[a-c]'"]
        return gradients(bandit(*overrides, *sizes, *STEP_IS_GRADIENT), start)

    dapo, grpo = ["optimizer=dapo", "optimizer.objective.pg.high=0.2"], ["optimizer=grpo", *NO_KL]
    assert close(gradient(1, *dapo), gradient(1, *grpo)) < 1e-5
    assert close(gradient(24, *dapo), gradient(24, *grpo)) > 1e-3  # lengths differ: tokens and rows are weighed otherwise


def test_the_same_seed_writes_the_same_bytes_and_another_seed_does_not(bandit):
    a, b, c = (bandit("scale.iterations=2", f"seed={seed}") for seed in (5, 5, 6))
    files = [{p.relative_to(run.policy): p.read_bytes() for p in run.policy.rglob("*") if p.is_file()} for run in (a, b, c)]
    assert files[0] == files[1]
    weights = next(p for p in files[0] if p.name == "model.safetensors")
    assert files[0][weights] != files[2][weights]
    shas = [{(e["path"], e["stage"]): e.get("outputs") for e in run.run.store.manifest} for run in (a, b, c)]
    assert shas[0] == shas[1] != shas[2]


@pytest.mark.parametrize("name", ["grpo", "ppo", "dpo"])
def test_micro_batches_change_no_weight(bandit, name):
    # One large step straight along the gradient (two for ppo): with its usual epsilon AdamW would make full steps of rounding errors.
    few = [*STEP_IS_GRADIENT, "scale.tasks=4", f"optimizer={name}"]
    whole, split, other = (stacked(bandit(*few, *extra).tensors()) for extra in ([], ["optimizer.micro_tokens=64"], ["seed=1"]))
    assert float((whole - split).abs().max()) < 1e-6
    assert float((whole - other).abs().max()) > 1e-4
