"""How often something stands in a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import compiled


class Count:
    """min(matches of a regex in the reply, most): tags, steps, tool outputs.

    Args:
        pattern: what is counted, without overlaps.
        most: the count beyond which nothing more is gained.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, pattern: str, most: float = float("inf")):
        if most <= 0:
            raise UserError(f"count: most must be above 0, got {most}")
        self.pattern, self.most = compiled(pattern), most

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the count under `ctx.name`."""
        return [row.rewarded(ctx.name, min(len(self.pattern.findall(row.trajectory.text)), self.most)) for row in rows]
