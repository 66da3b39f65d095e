"""The command line called in this process, a tiny run that nobody disturbed, and one that waits in a process of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from as_user import BARE, TINY, Held, Said, reached, start, waiting

from selfevo import cli


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Said]:
    """Calls a command of the real command line in this process."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    def call(*arguments: str) -> Said:
        capsys.readouterr()
        status = cli.main(arguments)
        return Said(status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny training run that nobody disturbed."""
    root = tmp_path_factory.mktemp("whole") / "run"
    assert cli.main(["run", *TINY, f"hydra.run.dir={root}"]) == 0
    return root


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """A run that waits in main.0/score."""
    root, gate = tmp_path / "run", tmp_path / "gate"
    process = start("run", *BARE, waiting(gate), f"hydra.run.dir={root}")
    try:
        reached(gate, process)
        yield Held(process, root, gate)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
