"""A library that collapsed: its newest file is proposed for removal."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version
from .memory import Memory
from .stateless import Stateless


class WithoutNewest(Stateless):
    """A candidate without the file that came in last, when the latest value of a metric is below a threshold (GRASP, arXiv:2605.29668,
    tries this after an epoch whose dev score fell under 5 %). A gate decides about the candidate as about any other.

    Args:
        metric: committed metric that is looked at; without a value yet, nothing is proposed.
        below: threshold.
    """

    def __init__(self, metric: str, below: float = 0.05):
        if not metric:
            raise UserError("memories.WithoutNewest: metric is empty")
        self.metric, self.below = metric, below

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> list[Version]:
        """The candidate, or none."""
        values, files = ctx.history(self.metric), dict(target.files)
        if not files or not values or values[-1] >= self.below:
            return []
        line = [set(target.at(v.id)) for v in target.ancestors()]  # newest first
        since = {file: next((age for age, there in enumerate(line) if file not in there), len(line)) for file in files}
        newest = min(sorted(files), key=lambda file: since[file])
        return [target.add({f: t for f, t in files.items() if f != newest}, made_by=ctx.path, info={"edits": f"REMOVE {newest}"})]
