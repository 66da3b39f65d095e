"""FromEnvironment: the reward that the environment, or the data, gave along the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..protocols import RunCtx
from ..records import Row

PREFIX = "env:"


class FromEnvironment:
    """Reads the trajectory's key "env:<reward>", which multi-turn rollouts sum up from their environment and recorded ones take
    from the data. A row without the key abstains.

    Args:
        reward: the name under which the environment gave it.
    """

    scope: Literal["row"] = "row"

    def __init__(self, reward: str = "score"):
        self.reward = reward

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows, scored."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        value = row.trajectory.keys.get(PREFIX + self.reward)
        if value is None:
            return row.failed(name, "abstain", f"the environment gave no reward '{self.reward}'")
        return row.rewarded(name, float(value))
