"""Different judges for different kinds of tasks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import Part, RunCtx
from ..records import Row


class Route:
    """Each row is judged by the part of its task's category: for mixtures of task families.

    Args:
        parts: category to row part. All give their reward under this part's name.
        other: the part for every category not named; null refuses such rows.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, parts: Mapping[str, Part], other: Part | None = None):
        if not parts:
            raise UserError("route: `parts` is empty; expected {category: part}")
        for key, part in [*parts.items(), ("other", other)]:
            if part is not None and part.scope != "row":
                raise UserError(f"route: the part for '{key}' has scope '{part.scope}'; expected 'row'")
        self.parts, self.other = dict(parts), other

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with the reward under `ctx.name`."""
        out = list(rows)
        mine: dict[str | None, list[int]] = {}
        for i, row in enumerate(rows):
            category = row.trajectory.task.category
            mine.setdefault(category if category in self.parts else None, []).append(i)
        for key, where in mine.items():
            part = self.other if key is None else self.parts[key]
            if part is None:
                unknown = rows[where[0]].trajectory.task.category
                raise UserError(f"verifier.{ctx.name}: no part for the category '{unknown}'{nearest(unknown, self.parts)}")
            for i, row in zip(where, part([rows[i] for i in where], ctx), strict=True):
                out[i] = row
        return out
