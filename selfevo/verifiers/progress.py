"""Pays for being better than what one started from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row
from .earlier import earlier, inherited


class Progress:
    """r + alpha (r - r_parent), with r_parent the reward of the trajectory this one follows; r alone where it follows none.

    SCoRe's shaping of a second attempt (Kumar et al. 2024, arXiv:2409.12917, section 5.2): the bonus goes to the later row only, so an
    earlier attempt gains nothing by failing. With rewards 0 and 1 the two of them sum to 0 (wrong, wrong), 2 (right, right),
    1 + alpha (mended) and 1 - alpha (spoilt). It works on every hop of a chain and every child in a tree whose parent is in its group.
    Where the parent has no reward the row takes that status; so it does where its own is missing.

    Args:
        reward: reward that is compared.
        alpha: weight of the difference; may vary over the run.
    """

    scope: Literal["row", "group", "batch"] = "group"

    def __init__(self, reward: str, alpha: Number = 1.0):
        if isinstance(alpha, int | float) and alpha < 0:
            raise UserError(f"progress: alpha is {alpha}; expected 0 or more")
        self.reward, self.alpha = reward, alpha

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The group with the shaped reward under `ctx.name`."""
        by_id, alpha = {row.trajectory.id: row for row in rows}, ctx.value(self.alpha)
        return [self._shaped(row, by_id.get(row.trajectory.parent or ""), alpha, ctx) for row in rows]

    def _shaped(self, row: Row, parent: Row | None, alpha: float, ctx: RunCtx) -> Row:
        reward = earlier(row, self.reward, ctx)
        if reward is None:
            return inherited(row, self.reward, ctx.name)
        if parent is None:
            return row.rewarded(ctx.name, reward)
        before = earlier(parent, self.reward, ctx)
        if before is None:
            return row.failed(ctx.name, "abstain", f"{self.reward}: the trajectory before it has none")
        return row.rewarded(ctx.name, reward + alpha * (reward - before))
