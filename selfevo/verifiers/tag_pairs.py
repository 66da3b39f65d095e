"""How cleanly a reply is tagged."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row


class TagPairs:
    """1.0 for exactly one <tag>...</tag>, 0.5 for several, 0.0 for none or for tags that do not pair up: the format reward of "Multi-Agent
    Evolve" (Chen et al. 2025, arXiv:2510.23595). With several tags, the least of theirs.

    Args:
        tags: names of the tags.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, tags: Sequence[str]):
        if not tags or isinstance(tags, str):
            raise UserError(f"tag_pairs: tags must list at least one name, got {tags!r}")
        self.tags = tuple(tags)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [row.rewarded(ctx.name, min(self._one(row.trajectory.text, tag) for tag in self.tags)) for row in rows]

    def _one(self, text: str, tag: str) -> float:
        opened, closed = text.count(f"<{tag}>"), text.count(f"</{tag}>")
        paired = opened == closed and opened > 0 and text.find(f"<{tag}>") < text.find(f"</{tag}>")
        return (1.0 if opened == 1 else 0.5) if paired else 0.0
