"""What curricula share: distinct draws, outcomes read from rows, and their metrics."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from ..protocols import RunCtx
from ..records import Row, Task

T = TypeVar("T")

SHOWN = 24
"""More distinct categories or levels than this are not logged one by one."""


def stream(ctx: RunCtx) -> random.Random:
    """The generator of one call of `sample`.

    A stage that refuses tasks (held out, seen) asks for the missing ones with another `ctx.name` (a suffix per attempt), so that
    the second call draws afresh; the first call is a function of the run seed and the stage alone.
    """
    return ctx.rng("sample", ctx.name)


def distinct(n: int, draw: Callable[[], Task], tries: int = 32) -> list[Task]:
    """`n` tasks from `draw`, avoiding repeats within the list: each is redrawn up to `tries` times, then a repeat is accepted
    (a source may hold fewer than `n` tasks)."""
    return distinct_in(range(n), lambda _: draw(), tries)


def distinct_in(places: Iterable[T], draw: Callable[[T], Task], tries: int = 32) -> list[Task]:
    """The same with a draw per place: a repeat is redrawn within its own place (category, arm)."""
    tasks: list[Task] = []
    seen: set[str] = set()
    for place in places:
        task = draw(place)
        for _ in range(tries - 1):
            if task.id not in seen:
                break
            task = draw(place)
        seen.add(task.id)
        tasks.append(task)
    return tasks


def outcomes(rows: Iterable[Row], reward: str, correct: float) -> list[tuple[Task, bool]]:
    """Task and whether it was solved (reward >= `correct`), for each row that has the reward: errors say nothing about a task."""
    judged = [(row.trajectory.task, row.reward(reward)) for row in rows]
    return [(task, value >= correct) for task, value in judged if value is not None]


def log_outcomes(ctx: RunCtx, results: Sequence[tuple[Task, bool]]) -> None:
    """Metrics of what was worked on: mean level, and per level and category the share of rows and the share solved."""
    if not results:
        return
    levels = [task.difficulty for task, _ in results if task.difficulty is not None]
    if levels:
        ctx.log("curriculum/level", sum(levels) / len(levels))
    ctx.log("curriculum/solved", sum(solved for _, solved in results) / len(results))
    for what in ("level", "category"):
        tally: dict[str, list[bool]] = {}
        for task, solved in results:
            key = task.category if what == "category" else "" if task.difficulty is None else f"{task.difficulty:g}"
            tally.setdefault(key, []).append(solved)
        if len(tally) > SHOWN or set(tally) == {""}:
            continue
        for key in sorted(tally):
            ctx.log(f"curriculum/share/{what}={key}", len(tally[key]) / len(results))
            ctx.log(f"curriculum/solved/{what}={key}", sum(tally[key]) / len(tally[key]))
