"""A balanced set of tasks met before: as many that passed as that failed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Task
from .drawing import stream
from .saved import restored, saved


class ProbeSet:
    """Remembers every judged task of its updates with how it went, and hands out up to n/2 failing and n/2 passing ones, in turn over the
    categories (or another variable). For gates that ask whether a change fixes without breaking (GRASP, arXiv:2605.29668).

    Tasks of earlier updates are preferred: those of the latest one serve only where there are none. A task met again has its latest status.
    Where one side is short the other fills up; fewer than n tasks are given when no more are known. A handed-out task keeps its id and has
    the variable `probe`: "passing" or "failing".

    Args:
        by: task variable to stratify by; None takes the category.
        reward, correct: a task passed when this reward is at least `correct`; rows without it are not remembered.
        keep: most tasks remembered, the longest not met go first.
    """

    def __init__(self, by: str | None = None, reward: str = "score", correct: float = 0.5, keep: int = 512):
        if keep < 1:
            raise UserError(f"curricula.ProbeSet: keep must be at least 1, not {keep}")
        self.by, self.reward, self.correct, self.keep = by, reward, correct, keep
        self._met: dict[str, tuple[Task, bool, int]] = {}  # id to task, passed, number of the update
        self._updates = 0

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """At most `n` tasks, failing ones first."""
        earlier = [entry for entry in self._met.values() if entry[2] < self._updates] or list(self._met.values())
        rng = stream(ctx)
        failing, passing = (self._stratified([t for t, ok, _ in earlier if ok is side], rng) for side in (False, True))
        most = max(n - n // 2, n - len(passing))
        chosen = failing[:most] + passing[: n - len(failing[:most])]
        ids = {t.id for t in failing}
        ctx.log("curriculum/probe/failing", sum(t.id in ids for t in chosen))
        ctx.log("curriculum/probe/passing", sum(t.id not in ids for t in chosen))
        return [replace(t, vars={**t.vars, "probe": "failing" if t.id in ids else "passing"}, id=t.id) for t in chosen]

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Remember the rows' tasks; of several rows of one task the first counts."""
        self._updates += 1
        new: dict[str, tuple[Task, bool, int]] = {}
        for row in rows:
            value, task = row.reward(self.reward), row.trajectory.task
            if value is not None:
                new.setdefault(task.id, (task, value >= self.correct, self._updates))
        for task_id, entry in new.items():
            self._met.pop(task_id, None)
            self._met[task_id] = entry
        while len(self._met) > self.keep:
            del self._met[next(iter(self._met))]

    def _stratified(self, tasks: Sequence[Task], rng: random.Random) -> list[Task]:
        """The tasks shuffled, then one of each stratum in turn."""
        strata: dict[str, list[Task]] = {}
        for task in rng.sample(list(tasks), len(tasks)):
            strata.setdefault(str(task.vars.get(self.by, "")) if self.by is not None else task.category, []).append(task)
        rounds = max(map(len, strata.values()), default=0)
        return [strata[name][i] for i in range(rounds) for name in sorted(strata) if i < len(strata[name])]

    def state_dict(self) -> dict[str, Any]:
        """The tasks with their status and age."""
        return {"updates": self._updates, "met": [[saved(t), ok, at] for t, ok, at in self._met.values()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"updates", "met"}:
            raise ValueError(f"not the state of a ProbeSet: it has {sorted(state)}")
        self._updates = state["updates"]
        self._met = {task.id: (task, ok, at) for task, ok, at in ((restored(t), ok, at) for t, ok, at in state["met"])}
