"""Parts from outside the package that meet: a rollout and a training each of which goes on only once the other is there.

Where one of them must end before the other may begin, neither ever meets the other, and both give up.
"""

from __future__ import annotations

import time
from pathlib import Path

from selfevo.errors import UserError
from selfevo.rollouts import Single
from selfevo.samples import PolicyTurns

PATIENCE = 60.0
"""Seconds after which a meeting is not going to happen."""


def meet(folder: str, mine: str, other: str) -> None:
    """Say that one is here, and wait for the other."""
    Path(folder, mine).touch()
    began = time.monotonic()
    while not Path(folder, other).exists():
        if time.monotonic() - began > PATIENCE:
            raise UserError(f"{mine} never met {other}")
        time.sleep(0.01)


class MeetsTraining(Single):
    """One reply; in the iteration `path` not before a training has begun."""

    def __init__(self, folder: str, path: str):
        super().__init__()
        self.folder, self.path = folder, path

    async def run(self, task, seats, env, ctx):
        if ctx.path == self.path:
            meet(self.folder, "rollout", "training")
        return await super().run(task, seats, env, ctx)


class MeetsRollout(PolicyTurns):
    """Samples of whole trajectories; in the iteration `path` not before a rollout has begun."""

    def __init__(self, folder: str, path: str, reward: str = "score"):
        super().__init__(reward)
        self.folder, self.path = folder, path

    def build(self, rows, ctx):
        if ctx.path == self.path:
            meet(self.folder, "training", "rollout")
        return super().build(rows, ctx)


class FailsWhile(Single):
    """One reply; in the iteration `path` an error as long as a file is there."""

    def __init__(self, file: str, path: str):
        super().__init__()
        self.file, self.path = Path(file), path

    async def run(self, task, seats, env, ctx):
        if ctx.path == self.path and self.file.exists():
            raise UserError(f"{self.file.name} is in the way")
        return await super().run(task, seats, env, ctx)
