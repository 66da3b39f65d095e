"""Components from outside the package that hold a process until a test lets it go on, or end it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from selfevo.engines import Native
from selfevo.protocols import GenerateRequest, RunCtx
from selfevo.records import Row


def wait_at(folder: Path) -> None:
    """Leave this process's id in `folder`, and wait there until the file `gate` exists."""
    (folder / str(os.getpid())).touch()
    while not (folder / "gate").exists():
        time.sleep(0.02)


def waiting_in(folder: Path, count: int, process: Any) -> list[int]:
    """The ids of `count` processes, once so many wait in `folder` in a run that `process` began."""
    end = time.monotonic() + 240
    while len(found := [int(f.name) for f in folder.iterdir() if f.name.isdigit()]) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, f"{len(found)} of {count} processes came to {folder}"
        time.sleep(0.05)
    return sorted(found)


class Holds(Native):
    """The native engine, which waits before it answers, `free` times excepted."""

    def __init__(self, folder: str, free: int = 0, **settings: Any) -> None:
        super().__init__(**settings)
        self.folder, self.free = Path(folder), free

    def generate(self, requests: Sequence[GenerateRequest]) -> Any:
        self.free -= 1
        if self.free < 0:
            wait_at(self.folder)
        return super().generate(requests)


class Kills(Native):
    """The native engine, which ends its own process instead of answering."""

    def generate(self, requests: Sequence[GenerateRequest]) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)


class Judged:
    """A row part that waits, then gives every row the share of its task's answer in its text."""

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        wait_at(self.folder)
        return [row.rewarded(ctx.name, float(str(row.trajectory.task.answer) in row.trajectory.text)) for row in rows]


class Counted:
    """A row part that logs how many rows it saw: only where it sees all of them is that the number of rows."""

    scope: Literal["row", "group", "batch"] = "row"

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        ctx.log("score/seen", len(rows))
        print(f"{len(rows)} rows seen")
        return [row.rewarded(ctx.name, 1.0) for row in rows]
