"""A weighted sum of the rewards of earlier parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row
from .earlier import earlier, inherited


class Weighted:
    """sum_i w_i r_i over the named rewards, or `least` where that is more.

    Where one of them is missing there is no sum: the row takes that part's status (the first, in the order of `weights`, that is missing),
    so an error stays an error and a partial sum never passes for a reward. A weight of 0 takes its reward out.

    Args:
        weights: reward name to weight; a weight may vary over the run.
        least: the sum is raised to this where it is below; null leaves it.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, weights: Mapping[str, Number], least: Number | None = None):
        if not weights:
            raise UserError("weighted: `weights` is empty; expected {reward name: weight}")
        self.weights, self.least = dict(weights), least

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the sum under `ctx.name`."""
        weights = {name: w for name, number in self.weights.items() if (w := ctx.value(number)) != 0.0}
        least = float("-inf") if self.least is None else ctx.value(self.least)
        return [self._sum(row, weights, least, ctx) for row in rows]

    def _sum(self, row: Row, weights: Mapping[str, float], least: float, ctx: RunCtx) -> Row:
        total = 0.0
        for name, weight in weights.items():
            reward = earlier(row, name, ctx)
            if reward is None:
                return inherited(row, name, ctx.name)
            total += weight * reward
        return row.rewarded(ctx.name, max(total, least))
