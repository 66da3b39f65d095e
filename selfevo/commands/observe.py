"""Who watches a run: the trackers of the spec (and the live view)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec import RunSpec

if TYPE_CHECKING:
    from ..run import Observer


def observers(spec: RunSpec) -> list[Observer]:
    """Observers of one run."""
    return []
