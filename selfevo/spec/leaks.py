"""Whether something would learn from what evaluations hold out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..protocols import each_item
from ..references import OF_TABLES, TableRef
from .problems import Problem
from .runspec import RunSpec


def leaks(spec: RunSpec) -> Iterator[Problem]:
    """A problem for every train stage, and every score stage that updates curricula, which rows of an evaluation reach by any number of
    steps: their tasks carry the reference answers of a sealed suite. What only adapts to a test input has `tasks: {suite: ...}`."""
    sealed = {name for name, node in spec.stages.items() if node["kind"] == "evaluate"}
    for name, node in spec.stages.items():
        learns = node["kind"] == "train" or (node["kind"] == "score" and node.get("update"))
        found = sorted(sealed & reaching(spec, name)) if learns else []
        if found:
            held = f"'{found[0]}' is an evaluation, and its tasks are held out"
            yield Problem(f"stages.{name}", f"learns from rows of '{found[0]}'; {held} (docs/evaluation.md: adapting to a test input)")


def reaching(spec: RunSpec, name: str) -> set[str]:
    """Stages whose rows reach a stage, by any number of steps."""
    seen: set[str] = set()
    todo = [name]
    while todo:
        node = spec.stages[todo.pop()]
        tasks = node.get("tasks")
        derived = [tasks[key] for key in OF_TABLES if key in tasks] if isinstance(tasks, Mapping) else []
        for ref in (*each_item(node.get("of") or ()), *each_item(node.get("from") or ()), *each_item(node.get("using") or ()), *derived):
            stage = TableRef.parse(ref).stage
            if stage not in seen:
                seen.add(stage)
                todo.append(stage)
    return seen
