"""A weighted sum of the rewards of earlier parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row
from .earlier import earlier, inherited


class Weighted:
    """sum_i w_i r_i over the named rewards.

    Where one of them is missing there is no sum: the row takes that part's status (the first, in the order of `weights`, that is missing),
    so an error stays an error and a partial sum never passes for a reward. A weight of 0 takes its reward out.

    Args:
        weights: reward name to weight; a weight may vary over the run.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, weights: Mapping[str, Number]):
        if not weights:
            raise UserError("weighted: `weights` is empty; expected {reward name: weight}")
        self.weights = dict(weights)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the sum under `ctx.name`."""
        weights = {name: w for name, number in self.weights.items() if (w := ctx.value(number)) != 0.0}
        return [self._sum(row, weights, ctx) for row in rows]

    def _sum(self, row: Row, weights: Mapping[str, float], ctx: RunCtx) -> Row:
        total = 0.0
        for name, weight in weights.items():
            reward = earlier(row, name, ctx)
            if reward is None:
                return inherited(row, name, ctx.name)
            total += weight * reward
        return row.rewarded(ctx.name, total)
