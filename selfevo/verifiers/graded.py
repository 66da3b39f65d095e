"""Judgement by the source that made the task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from ..protocols import RunCtx
from ..records import Row, Task
from .answers import Extract, Where, normalise


class Grader(Protocol):
    """A task source that can judge answers to its tasks."""

    def grade(self, task: Task, answer: str) -> float:
        """Reward of an answer, in [0, 1]."""


class Graded:
    """The reward that `grader.grade(task, answer)` gives; 0.0 when the reply has no answer.

    Args:
        grader: the source of the tasks, for example a `selfevo.tasks.ReasoningGym` (interpolate it: `grader: ${task}`).
        extract, pattern: as in `Exact`.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, grader: Grader, extract: Where = "marked", pattern: str | None = None):
        self.grader, self.extract = grader, Extract(extract, pattern)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        return row.rewarded(name, self.grader.grade(row.trajectory.task, found), info={"answer": normalise(found)})
