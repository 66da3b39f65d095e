"""Tasks inside the state of a curriculum: plain JSON, without turns to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Lineage, Task


def saved(task: Task) -> dict[str, Any]:
    """A task as JSON-able values."""
    return {
        "vars": dict(task.vars), "answer": task.answer, "category": task.category, "difficulty": task.difficulty,
        "environment": task.environment, "id": task.id, "parent": task.lineage.parent, "origin": task.lineage.origin, "prompt": task.prompt,
    }  # fmt: skip


def restored(state: Mapping[str, Any]) -> Task:
    """The inverse of `saved`."""
    lineage = Lineage(state["origin"], state["parent"])
    given = {name: state[name] for name in ("vars", "answer", "category", "difficulty", "environment", "id", "prompt")}
    return Task(**given, lineage=lineage)
