"""Cells: the (category, difficulty) pairs of a task source, by which sources are mixed and curricula steer."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocols import TaskSource

Cell = tuple[str, float | None]
"""A category and a difficulty (None where tasks carry none)."""


def cells_of(tasks: TaskSource) -> tuple[Cell, ...]:
    """Every cell a source can give: its own `cells` where it has them (not every pair need exist), else all pairs."""
    own: Sequence[Cell] | None = getattr(tasks, "cells", None)
    if own is not None:
        return tuple(own)
    levels: Sequence[float | None] = tasks.levels or (None,)
    return tuple((category, level) for category in tasks.categories for level in levels)
