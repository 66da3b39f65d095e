"""What the user's tests share: small runs as overrides, what a command said, and processes that wait for a test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from selfevo.store import file_sha

HERE = Path(__file__).parent
TINY = ["experiment=quickstart", "scale=tiny", "+optimizer.objective.bonus={_target_: selfevo.objectives.Entropy, coef: 0.01}"]
"""The first run at smoke-test sizes; the entropy bonus teaches something even where all rewards are equal."""
BARE = [
    "model=scripted", "engine=scripted", "engine.replies=['#### 7','#### 8']", "scale=tiny", "stages.train=null",
    "loop.main.do=[rollout,score,evaluate]",
]
"""A run without weights: real stages and files, no torch, so that a process of its own starts at once."""


@dataclass(frozen=True)
class Said:
    """What a command did."""

    status: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line on stderr."""
        assert self.err.startswith("selfevo: ") and self.err.count("\n") == 1, self.err
        return self.err.removeprefix("selfevo: ").rstrip("\n")


def weights(root: Path, version: str = "000002") -> str:
    """sha256 of a version's weights."""
    return file_sha(root / "policies" / "solver" / version / "model.safetensors")


def metrics(root: Path) -> list[tuple[str, str, dict[str, float]]]:
    """Every metrics line without its times."""
    lines = [json.loads(text) for text in (root / "metrics.jsonl").read_text().splitlines()]
    return [(m["path"], m["stage"], {k: v for k, v in m["metrics"].items() if not k.startswith("time/")}) for m in lines]


def committed(root: Path) -> list[str]:
    """ "main.0/train" of every committed stage."""
    entries = [json.loads(text) for text in (root / "manifest.jsonl").read_text().splitlines()]
    return [f"{e['path']}/{e['stage']}" for e in entries if "kind" in e]


ENVIRONMENT = {
    **os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "",
}


def start(*arguments: str, **options: object) -> subprocess.Popen[str]:
    """A process of the command line."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": ENVIRONMENT, **options}
    return subprocess.Popen([sys.executable, "-m", "selfevo", *arguments], **pipes)  # type: ignore[call-overload, no-any-return]


@dataclass
class Held:
    """A run in a process of its own whose first score stage waits for `release`."""

    process: subprocess.Popen[str]
    root: Path
    gate: Path

    def release(self) -> None:
        """Let the stage go on."""
        self.gate.touch()

    def ended(self) -> Said:
        """Wait for the end of the process."""
        out, err = self.process.communicate(timeout=60)
        return Said(self.process.returncode, out, err)


def waiting(gate: Path) -> str:
    """The override that adds the waiting part."""
    return f"+verifier.hold={{_target_: waiting.Waits, file: {gate}}}"


def reached(gate: Path, process: subprocess.Popen[str]) -> None:
    """Return once the run of `process` waits at `gate`."""
    end = time.monotonic() + 60
    while not gate.with_suffix(".here").exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "the run never came to its score stage"
        time.sleep(0.02)
