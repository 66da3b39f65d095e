"""Tasks made from rows: about each, going on with each, or about a group of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import cycle, islice

from ..errors import UserError, nearest
from ..prompts import render
from ..records import Lineage, Row, Task, groups
from ..references import Derived


def variables(row: Row) -> dict[str, object]:
    """Prompt variables of a row: its task's, its rewards, what was said and by whom, and the feedback."""
    rewards = {name: f"{value:g}" for name, value in row.score.rewards.items()}
    t = row.trajectory
    return {**t.task.vars, **rewards, "response": t.text, t.role: t.text, "feedback": row.score.feedback or ""}


def followed(row: Row) -> Task:
    """A new conversation about a row."""
    t = row.trajectory
    return replace(t.task, vars=variables(row), lineage=Lineage("follow", t.id), turns=(), id="", prompt="")


def continued(row: Row) -> Task:
    """The row's own conversation, to go on with."""
    t = row.trajectory
    return replace(t.task, vars=variables(row), lineage=Lineage("continue", t.id), turns=t.turns, id="", prompt="")


def once(tasks: Iterable[Task]) -> list[Task]:
    """Each task once, where it came first."""
    found: dict[str, Task] = {}
    for task in tasks:
        found.setdefault(task.id, task)
    return list(found.values())


def compared(rows: Sequence[Row], swap: bool) -> list[Task]:
    """A task for every pair of rows of each group, in both orders where `swap`; the group's first task lends its variables."""
    out: list[Task] = []
    for members in groups(rows).values():
        pairs = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
        for a, b in [pair for ab in pairs for pair in (ab, ab[::-1])] if swap else pairs:
            first, second = a.trajectory, b.trajectory
            texts = {"first": first.text, "second": second.text, "first_id": first.id, "second_id": second.id}
            variables = {**members[0].trajectory.task.vars, **texts}
            out.append(replace(first.task, vars=variables, lineage=Lineage("compare", first.id), turns=(), id="", prompt=""))
    return out


def gathered(rows: Sequence[Row], derived: Derived, n: int | None) -> list[Task]:
    """A task for each group of the rows that match; with `n`, so many, group after group and round again. None where no row matches."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in derived.where.select(rows):
        found.setdefault(tuple(_value(row, name) for name in derived.by), []).append(row)
    beside = {name: _rendered(where.select(rows), derived) for name, where in derived.beside.items()}
    tasks = []
    for key, members in sorted(found.items(), key=lambda group: -len(group[1])):  # stable: equal groups as they appeared
        first = members[0].trajectory
        about = {**dict(zip(derived.by, key, strict=True)), **beside, "rows": _rendered(members, derived), "count": str(len(members))}
        tasks.append(Task(about, category=first.task.category, difficulty=first.task.difficulty, lineage=Lineage("gather", first.id)))
    return tasks if n is None or not tasks else list(islice(cycle(tasks), n))


def _value(row: Row, name: str) -> str:
    t = row.trajectory
    if name in t.task.vars:
        return str(t.task.vars[name])
    if name == "response":
        return " ".join(t.text.split())
    try:
        return row.key(name)[0]
    except KeyError as error:
        raise UserError(f"gather: rows have no key or variable '{name}'{nearest(name, [*t.keys, *t.task.vars])}") from error


def _rendered(rows: Sequence[Row], derived: Derived) -> str:
    return "\n".join(render(derived.line, variables(row), "tasks.line")[0].content for row in rows[: derived.most])
