"""Tasks inside the state of a curriculum: plain JSON, without turns to resume from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..records import Lineage, Task


def saved(task: Task) -> dict[str, Any]:
    """A task as JSON-able values; what most tasks do not have (environment, parent, prompt) is there only where it is set: a
    buffer of starts is written whole with every commit."""
    out = {
        "vars": task.vars if type(task.vars) is dict else dict(task.vars), "answer": task.answer, "category": task.category,
        "difficulty": task.difficulty, "id": task.id, "origin": task.lineage.origin,
    }  # fmt: skip
    if task.environment is not None:
        out["environment"] = task.environment
    if task.lineage.parent is not None:
        out["parent"] = task.lineage.parent
    if task.prompt:
        out["prompt"] = task.prompt
    return out


def restored(state: Mapping[str, Any]) -> Task:
    """The inverse of `saved`."""
    given = {name: state[name] for name in ("vars", "answer", "category", "difficulty", "id")}
    lineage = Lineage(state["origin"], state.get("parent"))
    return Task(**given, environment=state.get("environment"), prompt=state.get("prompt", ""), lineage=lineage)
