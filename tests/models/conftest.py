"""Fixtures of the models' tests: a tiny random checkpoint of every family, and GRPO runs that start from it."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from real_runs import run_in


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    """`checkpoint("Llama")`: the folder of a tiny random model."""
    made: dict[str, Path] = {}

    def make(family: str) -> Path:
        if family not in made:
            made[family] = write_checkpoint(tmp_path_factory.mktemp(family), family, spread=0.1)
        return made[family]

    return make


@pytest.fixture
def grpo(checkpoint, tmp_path):
    """`grpo("qwen3_0.6b", "Qwen3", ...)`: one iteration of GRPO with a model config whose weights are those of a tiny model."""

    def go(config: str, family: str, *overrides: str):
        reply = "verifier={hit: {_target_: selfevo.verifiers.Format, answer: null, pattern: '[a-z]'}}"
        sizes = ["scale=tiny", "scale.iterations=1", "scale.max_tokens=4", "scale.eval_tasks=1", "scale.eval_every=9", "task.levels=[1]"]
        start = [f"model={config}", f"model.path={checkpoint(family)}", "optimizer.lr=1e-2"]
        return run_in(tmp_path / "run", [*start, *sizes, reply, *overrides])

    return go
