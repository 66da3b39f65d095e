"""A price on length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row


class Length:
    """-price * max(0, |y| - free) / 100, never below `worst`: a price per hundred sampled tokens beyond the free ones.

    Args:
        price: per 100 tokens; it may vary over the run.
        free: tokens that cost nothing.
        worst: lower bound of the reward, at most 0.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, price: Number, free: int = 0, worst: float = -1.0):
        if free < 0 or worst > 0:
            raise UserError(f"length: needs free >= 0 and worst <= 0; got {free} and {worst}")
        self.price, self.free, self.worst = price, free, worst

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the cost, in [worst, 0] for a price of at least 0, under `ctx.name`."""
        price = ctx.value(self.price)
        return [row.rewarded(ctx.name, max(self.worst, -price * max(0, row.trajectory.length - self.free) / 100)) for row in rows]
