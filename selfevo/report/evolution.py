"""How memories evolved: the versions of each, what every one of them changed, which were adopted; tasks that pools admitted and retired."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .read import RunData

DIFFS = 40
"""Versions of one memory whose changes are written out: the first, the newest, and an even choice between."""
LINES = 80
"""Lines of the diff of one version."""
WIDTH = 400
"""Characters of one line."""
READ = 1 << 18
"""Bytes of one file that are looked at."""
TASKS = 12
"""Admitted and retired tasks that are written out per commit, and commits of one pool."""


@dataclass
class Step:
    """One version: `added`, `removed`, `changed` count files; `diff` are (mark, text) lines, mark one of "+", "-", " ", "@"."""

    id: str
    parents: tuple[str, ...]
    made_by: str
    files: int = 0
    added: int = 0
    removed: int = 0
    changed: int = 0
    aliases: list[str] = field(default_factory=list)
    diff: list[tuple[str, str]] = field(default_factory=list)
    depth: int = 0
    trouble: str = ""


@dataclass
class Grown:
    """A memory and its versions in the order they were made; `branches`: whether some version has two children."""

    name: str
    steps: list[Step]
    branches: bool


@dataclass
class Pooled:
    """What one commit changed in a pool of tasks."""

    path: str
    part: str
    held: int
    admitted: list[str]
    retired: list[str]
    more: int


def memories(run: RunData) -> list[Grown]:
    """Every memory of which the run made versions."""
    found: dict[str, dict[str, Step]] = {}
    for entry in run.manifest:
        for v in entry.get("versions", ()):
            if v["kind"] == "text":
                found.setdefault(v["name"], {})[v["id"]] = Step(v["id"], tuple(v["parents"]), v["made_by"])
        for name, moved in entry.get("promotions", {}).items():
            for alias, version in moved.items():
                step = found.get(name, {}).get(version)
                if step is not None and alias not in step.aliases:
                    step.aliases.append(alias)
    return [_grown(run, name, steps) for name, steps in found.items()]


def _grown(run: RunData, name: str, steps: dict[str, Step]) -> Grown:
    made = list(steps.values())
    shown = set(range(len(made))) if len(made) <= DIFFS else {round(i * (len(made) - 1) / (DIFFS - 1)) for i in range(DIFFS)}
    children: dict[str, int] = {}
    for i, step in enumerate(made):
        parent = step.parents[0] if step.parents else ""
        children[parent] = children.get(parent, 0) + 1
        step.depth = steps[parent].depth + 1 if parent in steps else 1
        _compare(run, name, parent, step, i in shown)
    return Grown(name, made, any(n > 1 for n in children.values()))


def _compare(run: RunData, name: str, parent: str, step: Step, write: bool) -> None:
    after = _files(run.root / "memories" / name / step.id)
    if after is None:
        step.trouble = "its files are not on disk"
        return
    step.files = len(after)
    before = _files(run.root / "memories" / name / parent)
    if before is None:
        before = _given(run.spec, name) if parent.strip("0") == "" else None
    if before is None:
        step.trouble = f"the files of its parent {parent} are not on disk"
        return
    for file in sorted({*before, *after}):
        old, new = before.get(file), after.get(file)
        if old == new:
            continue
        step.added += old is None
        step.removed += new is None
        step.changed += old is not None and new is not None
        if write and len(step.diff) < LINES:
            step.diff.append(("@", file))
            step.diff += _diff(old or "", new or "")
    if len(step.diff) > LINES:
        left = len(step.diff) - LINES
        step.diff[LINES:] = [("@", f"[… {left:,} lines left out]")]


def _diff(old: str, new: str) -> Iterator[tuple[str, str]]:
    for line in list(difflib.unified_diff(old.splitlines(), new.splitlines(), n=1, lineterm=""))[2:]:
        if not line.startswith("@@"):
            yield line[:1], line[1 : 1 + WIDTH]


def _files(folder: Path) -> dict[str, str] | None:
    """Texts by name; None where there is no such folder."""
    if not folder.is_dir():
        return None
    out = {}
    for file in sorted(p for p in folder.rglob("*") if p.is_file()):
        with file.open("rb") as f:
            out[str(file.relative_to(folder))] = f.read(READ).decode("utf-8", "replace")
    return out


def _given(spec: Mapping[str, Any], name: str) -> dict[str, str] | None:
    """The first version, as the spec gives it; None where it names a folder, which may have changed since."""
    memory = spec.get("memories", {}).get(name) if isinstance(spec.get("memories"), Mapping) else None
    if not isinstance(memory, Mapping) or memory.get("path"):
        return None
    files = memory.get("files")
    return {str(k): str(v) for k, v in files.items()} if isinstance(files, Mapping) else {}


def pools(run: RunData) -> list[Pooled]:
    """Changes of every pool whose state is in the run directory (a list of tasks with ids), the newest commits of each."""
    held: dict[str, dict[str, str]] = {}
    out: dict[str, list[Pooled]] = {}
    for line in run.lines:
        for file in sorted((run.root / "state" / line.path / line.stage).glob("*.json")):
            tasks = _tasks(file)
            if tasks is None:
                continue
            before = held.get(file.stem, {})
            new, gone = [t for t in tasks if t not in before], [t for t in before if t not in tasks]
            held[file.stem] = tasks
            if new or gone:
                more = max(0, len(new) - TASKS) + max(0, len(gone) - TASKS)
                out.setdefault(file.stem, []).append(Pooled(f"{line.path}/{line.stage}", file.stem, len(tasks),
                                                            [tasks[t] for t in new[:TASKS]], [before[t] for t in gone[:TASKS]], more))
    return [p for changes in out.values() for p in changes[-TASKS:]]


def _tasks(file: Path) -> dict[str, str] | None:
    """{id: what it asks} of a state that holds tasks, else None."""
    try:
        state = json.loads(file.read_text())
    except (OSError, ValueError):
        return None
    tasks = state.get("tasks") if isinstance(state, Mapping) else None
    if not isinstance(tasks, Sequence) or isinstance(tasks, str):
        return None
    out: dict[str, str] = {}
    for task in tasks:
        body = task.get("task", task) if isinstance(task, Mapping) else task
        try:
            body = json.loads(body) if isinstance(body, str) else body
        except ValueError:
            return None
        if not isinstance(body, Mapping) or "id" not in body or not isinstance(body.get("vars"), Mapping):
            return None
        first = next(iter(body["vars"].values()), "")
        out[str(body["id"])] = str(first)[:WIDTH]
    return out
