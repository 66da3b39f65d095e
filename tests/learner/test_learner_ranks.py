"""Two processes make the version that one process makes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = '''
import importlib.util, sys
import torch
spec = importlib.util.spec_from_file_location("learner_bench", sys.argv[1])
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
from selfevo.objectives import KL, ClippedRatio, KTO, ValueLoss

def train():
    policy = bench.tiny_policy(dtype=torch.float64)
    near = bench.near(policy)
    columns = {"adv": bench.gaussian, "mask": bench.coin_mask, "label": lambda r, n: r.choice([1.0, -1.0, 0.0])}
    samples = [s.with_columns(kl=float(s.columns["label"] == 0)) for s in bench.sampled(bench.make_samples(9, **columns), near)]
    objective = {"pg": ClippedRatio("adv"), "kl": KL("solver@base", coef=0.1), "kto": KTO("solver@base"), "v": ValueLoss("adv")}
    learner = bench.Bench.learner(samples, objective, lr=1e-3, mini_batch=5, epochs=2, micro_tokens=30, value_head=True)
    ctx = bench.Context({"solver@base": near})
    for _ in range(2):
        learner.update(policy, [], ctx)
    return policy.model.state_dict(), ctx.metrics, learner._on_ranks()

weights, metrics, ranks = train()
if ranks.accelerator.is_main_process:
    torch.save({"weights": weights, "metrics": metrics, "ranks": ranks.count}, sys.argv[2])
'''


@pytest.mark.slow
def test_two_ranks_equal_one(tmp_path):
    script, bench = tmp_path / "train.py", Path(__file__).with_name("conftest.py")
    script.write_text(SCRIPT)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    found = []
    for n, how in enumerate([[], launch]):
        out = tmp_path / f"{n}.pt"
        command = [sys.executable, *how, str(script), str(bench), str(out)]
        subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env=settings, timeout=300)
        found.append(torch.load(out, weights_only=True))
    one, two = found
    assert (one["ranks"], two["ranks"]) == (1, 2)
    for name, value in one["weights"].items():
        assert torch.allclose(value, two["weights"][name], atol=1e-6), name
    assert one["metrics"].keys() == two["metrics"].keys()
    for name, value in one["metrics"].items():
        assert two["metrics"][name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


DISAGREE = '''
import importlib.util, os, sys
spec = importlib.util.spec_from_file_location("learner_bench", sys.argv[1])
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)
from selfevo.errors import UserError
from selfevo.objectives import PolicyGradient

samples = bench.make_samples(4, seed=int(os.environ["RANK"]), adv=bench.gaussian)
policy = bench.tiny_policy()
before = {n: p.clone() for n, p in policy.model.named_parameters()}
try:
    bench.Bench.learner(samples, {"pg": PolicyGradient("adv")}).update(policy, [], bench.Context())
except UserError as error:
    assert all((before[n] == p).all() for n, p in policy.model.named_parameters())
    print(error, flush=True)
'''


@pytest.mark.slow
def test_ranks_that_hold_different_samples_say_so_before_they_train(tmp_path):
    script, bench = tmp_path / "train.py", Path(__file__).with_name("conftest.py")
    script.write_text(DISAGREE)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    settings = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launch, str(script), str(bench)]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parents[2], env=settings, timeout=300, capture_output=True, text=True)
    assert done.stdout.count("ranks disagree on the samples to train on: rank 0 has ") == 2
