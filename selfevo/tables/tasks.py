"""A task as JSON text, the form in which a table holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..records import Lineage, Task, Turn


def task_to_json(task: Task) -> str:
    """A task as JSON text; `task_from_json` gives an equal task back."""
    body: dict[str, Any] = {
        "id": task.id,
        "vars": dict(task.vars),
        "answer": task.answer,
        "category": task.category,
        "difficulty": task.difficulty,
        "environment": task.environment,
        "lineage": {"origin": task.lineage.origin, "parent": task.lineage.parent},
    }
    if task.turns:
        body["turns"] = [_turn(t) for t in task.turns]
    if task.prompt:
        body["prompt"] = task.prompt
    return json.dumps(body, ensure_ascii=False, allow_nan=False)


def task_from_json(text: str) -> Task:
    """The inverse of `task_to_json`."""
    body = json.loads(text)
    turns = tuple(_as_turn(t) for t in body.pop("turns", []))
    return Task(**{**body, "lineage": Lineage(**body["lineage"]), "turns": turns})


def _turn(t: Turn) -> dict[str, Any]:
    return {
        "source": t.source,
        "text": t.text,
        "tokens": t.tokens,
        "logprobs": t.logprobs,
        "context": t.context,
        "version": t.version,
        "temperature": t.temperature,
        "finish": t.finish,
    }


def _as_turn(t: Mapping[str, Any]) -> Turn:
    logprobs = None if t["logprobs"] is None else tuple(t["logprobs"])
    return Turn(t["source"], t["text"], tuple(t["tokens"]), logprobs, tuple(t["context"]), t["version"], t["temperature"], t["finish"])
