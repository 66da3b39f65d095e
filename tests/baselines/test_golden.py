"""A run repeats bit for bit in another process, whatever Python's hash seed: sets and dicts of strings must not decide anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONFIGS = Path(__file__).parent / "configs"


def begin(root: Path, hash_seed: str, *overrides: str) -> subprocess.Popen[str]:
    env = {**os.environ, "PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "selfevo", "run", *overrides, "--config-dir", str(CONFIGS), f"hydra.run.dir={root}"]
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def facts(root: Path) -> list[dict[str, object]]:
    """Lines of metrics.jsonl without what a clock said."""
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        del line["seconds"]
        line["metrics"] = {k: v for k, v in line["metrics"].items() if not k.startswith("time/")}
    return lines


def shas(root: Path) -> list[object]:
    return [json.loads(line).get("outputs") for line in (root / "manifest.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_metrics_tables_and_weights_repeat_in_a_second_process_with_another_hash_seed(tmp_path, start):
    small = ["experiment=bandit", f"model.path={start}", "optimizer=ppo", "curriculum=window", "scale.iterations=2", "scale.eval_every=1"]
    mixed = ["task=mixture", "scale.max_tokens=6", "roles.solver.max_tokens=6", "optimizer.mini_batch=32", "~task.levels"]
    runs = [begin(tmp_path / seed, seed, *small, *mixed) for seed in ("0", "4242")]
    for run in runs:
        output, _ = run.communicate(timeout=300)
        assert run.returncode == 0, output[-2000:]
    first, second = (tmp_path / seed for seed in ("0", "4242"))
    assert len(facts(first)) == 9  # two looks beside the first one, and rollout, score, train twice
    assert facts(first) == facts(second)
    assert shas(first) == shas(second)
