"""Pool: a task pool that grows with what policies propose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..protocols import RunCtx, TaskParser, TaskSource
from ..records import Row, Task
from ..where import Where
from .drawing import stream
from .saved import restored, saved


class Pool:
    """Admits tasks read from scored rows and draws uniformly from the newest `capacity` of them.

    Until anything is admitted, and for the share `seed_share` of every draw afterwards, tasks come from `seed`.

    Args:
        parse: reads a task out of a row's text.
        where: rows whose task may enter ({learnability: {above: 0}}); default: all.
        seed: source of the first tasks; without one, drawing from an empty pool is an error.
        seed_share: share of draws from `seed` once the pool holds something.
        capacity: most tasks held; the oldest retire first.
    """

    def __init__(
        self, parse: TaskParser, where: Where | None = None, seed: TaskSource | None = None, seed_share: float = 0.0, capacity: int = 10_000
    ):
        if not 0 <= seed_share <= 1:
            raise UserError(f"curricula.Pool: seed_share must be in [0, 1], not {seed_share}")
        if capacity < 1:
            raise UserError(f"curricula.Pool: capacity must be 1 or more, not {capacity}")
        self.parse, self.where, self.seed, self.seed_share, self.capacity = parse, where, seed, seed_share, capacity
        self._ring: list[Task] = []  # in order of age from `_oldest` on, around the end
        self._oldest = 0
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._ring)

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks, repeats possible. Raises UserError when there is nothing to draw from."""
        rng, held = stream(ctx), len(self._ring)
        if not held and self.seed is None:
            raise UserError("curricula.Pool: the pool is empty and no `seed` source was given")
        out = []
        for _ in range(n):
            fresh = self.seed is not None and (not held or rng.random() < self.seed_share)
            out.append(self.seed.draw(rng) if fresh and self.seed is not None else self._at(rng.randrange(held)))
        return out

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Admit the tasks of rows that match; one that is already held is not admitted twice."""
        new: dict[str, Task] = {}
        parse, held = self.parse.parse, self._ids
        for row in rows if self.where is None else self.where.select(rows):
            task = parse(row)
            if task is not None and task.id not in held:
                new.setdefault(task.id, task)
        retired = max(0, len(self._ring) + len(new) - self.capacity)
        self._admit(new)
        ctx.log("curriculum/admitted", len(new))
        ctx.log("curriculum/retired", retired)
        ctx.log("curriculum/pool", len(self._ring))

    def _at(self, age: int) -> Task:
        """The task held for the longest time but `age` others."""
        return self._ring[(self._oldest + age) % len(self._ring)]

    def _admit(self, new: Mapping[str, Task]) -> None:
        """Hold new tasks, by id, each in the place of the oldest once the pool is full."""
        ring, at = self._ring, self._oldest
        retired = []
        for task in new.values():
            if len(ring) < self.capacity:
                ring.append(task)
                continue
            retired.append(ring[at].id)
            ring[at] = task
            at = (at + 1) % self.capacity
        self._oldest = at
        self._ids.update(new)
        self._ids.difference_update(retired)

    def state_dict(self) -> dict[str, Any]:
        """The tasks held, oldest first."""
        return {"tasks": [saved(self._at(age)) for age in range(len(self._ring))]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"tasks"}:
            raise ValueError(f"not a pool's state: it has {sorted(state)}")
        tasks = [restored(s) for s in state["tasks"]]
        self._ring, self._oldest = tasks[-self.capacity :], 0
        self._ids = {t.id for t in self._ring}
