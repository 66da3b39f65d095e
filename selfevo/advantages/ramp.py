"""Columns that follow a number of the task, and products of columns."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Column, Row, Sample


class Ramp:
    """start + (end - start) clip((x - low) / (high - low), 0, 1), with x a numeric variable of the row's task. One number per sample.

    With x the majority share of a pseudo-label these are ADPO's dynamic factors (Agent0: Xia et al. 2025, arXiv:2511.16043): the scale
    f(s) from 0.6 to 1 over [0.3, 0.8], and the upper clip from eps + 0.1 to eps over the same range (`ClippedRatio.high` may name it).

    Args:
        variable: the task's variable.
        low, high: where the ramp begins and ends.
        start, end: its values there.
        missing: x of a task without the variable; None makes that an error.
    """

    def __init__(self, variable: str, low: float, high: float, start: float, end: float, missing: float | None = None):
        if not low < high:
            raise UserError(f"advantages.Ramp: low ({low}) must be below high ({high})")
        self.variable, self.low, self.high, self.start, self.end, self.missing = variable, low, high, start, end, missing

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a task lacks the variable."""
        return [self.start + (self.end - self.start) * self._part(rows[s.row], ctx) for s in samples]

    def _part(self, row: Row, ctx: RunCtx) -> float:
        task = row.trajectory.task
        x = task.vars.get(self.variable, self.missing)
        if not isinstance(x, (int, float)):
            raise UserError(f"column '{ctx.name}': task {task.id} has no number '{self.variable}'{nearest(self.variable, task.vars)}")
        return min(max((x - self.low) / (self.high - self.low), 0.0), 1.0)


class Times:
    """The product of earlier columns of the sample: a weight on an advantage. Where one has a value per token, so has the product.

    Args:
        columns: their names; they stand before this one in the spec.
    """

    def __init__(self, columns: Sequence[str]):
        if len(columns) < 2:
            raise UserError(f"advantages.Times: columns must name at least two, got {list(columns)}")
        self.columns = tuple(columns)

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One entry per sample. Raises UserError for a column that is not there."""
        out: list[Column] = []
        for s in samples:
            product: Column = 1.0
            for name in self.columns:
                if name not in s.columns:
                    raise UserError(f"column '{ctx.name}': no column '{name}' stands before it{nearest(name, s.columns)}")
                product = _product(product, s.columns[name])
            out.append(product)
        return out


def _product(a: Column, b: Column) -> Column:
    if isinstance(a, tuple):
        return tuple(x * y for x, y in zip(a, b if isinstance(b, tuple) else (b,) * len(a), strict=True))
    return tuple(a * y for y in b) if isinstance(b, tuple) else a * b
