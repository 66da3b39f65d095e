"""Sweeps of tiny scripted runs, in this process or through the command line in one of its own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import BARE, Said

from selfevo import cli

QUICK = [*BARE, "scale.iterations=1", "scale.tasks=1", "scale.group=2", "scale.eval_tasks=4", "scale.eval_samples=1"]
"""The smallest run there is: real stages and files, no weights."""


@pytest.fixture
def quick() -> list[str]:
    return list(QUICK)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Calls a command of the real command line in this process."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        status = cli.main(arguments)
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture
def finished() -> Callable[[Path], set[str]]:
    """Names of the folders below a sweep's that hold a finished run."""

    def names(sweep: Path) -> set[str]:
        return {p.parent.name for p in sweep.glob("*/manifest.jsonl") if json.loads(p.read_text().splitlines()[-1])["stage"] == "end"}

    return names
