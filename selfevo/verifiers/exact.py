"""Reward 1 for the reference answer, 0 for anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, normalise

NO_REFERENCE = "the task has no reference answer"


class Exact:
    """1.0 when the extracted answer equals `task.answer` as text, 0.0 when it differs or there is none.

    Both sides are normalised alike. A task without a reference answer is an abstention. The (normalised) answer is left in
    `info["answer"]`.

    Args:
        extract: where the answer stands (see `answers.Where`).
        pattern: a regex for extract="pattern", or the fallback of "marked".
        normalise: whether `$`, thousands commas, spacing and a final full stop are ignored; if not, only outer white space is.
        fold_case: whether upper and lower case are the same.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, extract: Where = "marked", pattern: str | None = None, normalise: bool = True, fold_case: bool = False):
        self.extract, self.normalise, self.fold_case = Extract(extract, pattern), normalise, fold_case

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        reference = row.trajectory.task.answer
        if reference is None:
            return row.failed(name, "abstain", NO_REFERENCE)
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        answer = self._form(found)
        return row.rewarded(name, float(answer == self._form(reference)), info={"answer": answer})

    def _form(self, text: str) -> str:
        if self.normalise:
            return normalise(text, self.fold_case)
        return text.strip().casefold() if self.fold_case else text.strip()
