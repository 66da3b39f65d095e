"""Reward 1 for the reference number, however it is written."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, normalise
from .exact import NO_REFERENCE
from .numbers import Percent, number


class Numeric:
    """1.0 when |x - r| <= max(absolute, relative * |r|) for the answer x and the reference r, else 0.0: no partial credit.

    Numbers are exact fractions (see `numbers.number`), so tolerance 0 means equal. `info["answer"]` is the number in lowest terms, so
    that 0.5 and 1/2 vote together; an answer that is no number stays as written, and scores 0. A reference that is no number is an
    error of the data.

    Args:
        extract, pattern: as in `Exact`.
        absolute, relative: tolerances.
        percent: "hundredths": 50% is 0.5; "ignore": 50% is 50.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(
        self,
        extract: Where = "marked",
        pattern: str | None = None,
        absolute: float = 0.0,
        relative: float = 0.0,
        percent: Percent = "hundredths",
    ):
        if absolute < 0 or relative < 0:
            raise UserError(f"numeric: tolerances must be 0 or more; got absolute {absolute}, relative {relative}")
        if percent not in ("hundredths", "ignore"):
            raise UserError(f"numeric: percent is '{percent}'; expected 'hundredths' or 'ignore'")
        self.extract, self.percent = Extract(extract, pattern), percent
        self.absolute, self.relative = Fraction(str(absolute)), Fraction(str(relative))

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        reference = row.trajectory.task.answer
        if reference is None:
            return row.failed(name, "abstain", NO_REFERENCE)
        r = number(reference, self.percent)
        if r is None:
            return row.failed(name, "error", f"the reference answer {reference!r} is not a number")
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        x = number(found, self.percent)
        if x is None:
            return row.rewarded(name, 0.0, info={"answer": normalise(found)})
        right = abs(x - r) <= max(self.absolute, self.relative * abs(r))
        return row.rewarded(name, float(right), info={"answer": str(x)})
