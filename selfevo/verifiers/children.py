"""Children: judges a row by how those did who worked on what it wrote (a proposer by its solvers)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Row

SHAPES = ("rate", "miss", "learnability", "half", "least")


class Children:
    """Reward from the mean reward p of the rows whose task descends from this row's trajectory.

    shape "rate": p; "miss": 1 - p; "learnability": 4 p (1 - p), which is 1 where half of the attempts succeed and 0 where all or none
    do; "half": 1 - |2 p - 1|, the same with straight sides; "least": min(p, 1 - p), half of that. A row without children (its text held
    no task) gets `childless`.

    Args:
        table: scored table of the children; declare it under the stage's `using`.
        reward: which of their rewards counts.
        shape: how p becomes this row's reward.
        childless: reward of a row no one worked on; None leaves it without one (status "abstain").
    """

    scope: Literal["batch"] = "batch"

    def __init__(
        self,
        table: str,
        reward: str = "score",
        shape: Literal["rate", "miss", "learnability", "half", "least"] = "learnability",
        childless: float | None = 0.0,
    ):
        if shape not in SHAPES:
            raise UserError(f"verifiers.Children: unknown shape '{shape}'{nearest(shape, SHAPES)}")
        self.table, self.reward, self.shape, self.childless = table, reward, shape, childless

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows, each with its children's verdict; `info["children"]` says how many were judged."""
        by_parent: defaultdict[str, list[float]] = defaultdict(list)
        for child in ctx.rows(self.table):
            value, parent = child.reward(self.reward), child.trajectory.task.lineage.parent
            if value is not None and parent is not None:
                by_parent[parent].append(value)
        return [self._judge(row, by_parent.get(row.trajectory.id, []), ctx.name) for row in rows]

    def _judge(self, row: Row, rewards: list[float], name: str) -> Row:
        if rewards:
            p = sum(rewards) / len(rewards)
            shapes = {"rate": p, "miss": 1 - p, "learnability": 4 * p * (1 - p), "half": 1 - abs(2 * p - 1), "least": min(p, 1 - p)}
            value = shapes[self.shape]
        elif self.childless is None:
            return row.failed(name, "abstain", "no judged attempt at what this row wrote")
        else:
            value = self.childless
        return row.rewarded(name, value, info={"children": str(len(rewards))})
