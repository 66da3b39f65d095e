"""Reward 1 for a reply in the required form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, compiled


class Format:
    """1.0 when the reply meets every requirement given, else 0.0. Content is not judged.

    Args:
        answer: the final answer must be found there (see `answers.Where`); null does not ask for one.
        tags: each <tag>...</tag> must stand in the reply exactly once, in this order, none inside another.
        pattern: a regex that must match somewhere (anchor it to say where; `.` also matches line breaks).
        finished: the reply must have ended by itself.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, answer: Where | None = "marked", tags: Sequence[str] = (), pattern: str | None = None, finished: bool = False):
        if answer is None and not tags and pattern is None and not finished:
            raise UserError("format: it requires nothing; give answer, tags, pattern or finished")
        if answer == "pattern":
            raise UserError("format: write the regex under `pattern` and leave answer: null")
        self.extract = None if answer is None else Extract(answer)
        self.tags, self.finished = tuple(tags), finished
        self.pattern = None if pattern is None else re.compile(compiled(pattern).pattern, re.DOTALL)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [row.rewarded(ctx.name, float(self._met(row))) for row in rows]

    def _met(self, row: Row) -> bool:
        text = row.trajectory.text
        if self.finished and row.trajectory.status != "finished":
            return False
        if self.extract is not None and self.extract(text) is None:
            return False
        if self.pattern is not None and not self.pattern.search(text):
            return False
        return self._tagged(text)

    def _tagged(self, text: str) -> bool:
        marks = [mark for tag in self.tags for mark in (f"<{tag}>", f"</{tag}>")]
        places = [text.find(mark) for mark in marks]
        return all(text.count(mark) == 1 for mark in marks) and places == sorted(places)
