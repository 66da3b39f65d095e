"""Fixtures of the baselines' tests: a tiny random policy, and runs of it on the bandit task."""

from __future__ import annotations

from pathlib import Path

import pytest
from checkpoints import write_checkpoint
from real_runs import run_in

CONFIGS = Path(__file__).parent / "configs"


@pytest.fixture(scope="session")
def start(tmp_path_factory):
    """A policy for which every token is about as likely as any other."""
    return write_checkpoint(tmp_path_factory.mktemp("start"), "Qwen3", spread=0.02)


@pytest.fixture
def bandit(start, tmp_path):
    """`bandit("optimizer=rloo", ...)`: a finished run of the bandit experiment from `start`."""
    count = iter(range(100))

    def go(*overrides: str):
        return run_in(tmp_path / f"run{next(count)}", ["experiment=bandit", f"model.path={start}", *overrides], [CONFIGS])

    return go
