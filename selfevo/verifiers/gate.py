"""A reward that counts only where another one is met."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..protocols import Number, RunCtx
from ..records import Row
from .earlier import earlier, inherited


class Gate:
    """r_of where r_when >= at_least, else `otherwise`.

    Without r_when the row takes its status; r_of is asked for only behind an open gate.

    Args:
        of: the reward that passes.
        when: the reward that opens the gate.
        at_least: how much of it is needed.
        otherwise: the reward before a shut gate.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, of: str, when: str, at_least: Number = 1.0, otherwise: Number = 0.0):
        self.of, self.when, self.at_least, self.otherwise = of, when, at_least, otherwise

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the gated reward under `ctx.name`."""
        at_least, otherwise = ctx.value(self.at_least), ctx.value(self.otherwise)
        return [self._pass(row, at_least, otherwise, ctx) for row in rows]

    def _pass(self, row: Row, at_least: float, otherwise: float, ctx: RunCtx) -> Row:
        key, reward = earlier(row, self.when, ctx), earlier(row, self.of, ctx)
        if key is None:
            return inherited(row, self.when, ctx.name)
        if key < at_least:
            return row.rewarded(ctx.name, otherwise)
        return inherited(row, self.of, ctx.name) if reward is None else row.rewarded(ctx.name, reward)
