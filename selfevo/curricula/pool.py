"""Pool: a task pool that grows with what policies propose."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

from ..errors import UserError
from ..protocols import Proposal, RunCtx, TaskParser, TaskSource
from ..records import Row, Task
from ..where import Where
from .drawing import stream


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
        self._ring: list[Proposal] = []  # in order of age from `_oldest` on, around the end
        self._oldest = 0
        self._keys: set[Hashable] = set()

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
        parse, keys, new = self.parse.parse, self._keys, []
        for row in rows if self.where is None else self.where.select(rows):
            proposal = parse(row)
            if proposal is not None and (key := proposal[0]) not in keys:
                keys.add(key)
                new.append(proposal)
        ctx.log("curriculum/admitted", len(new))
        ctx.log("curriculum/retired", self._age(new))
        ctx.log("curriculum/pool", len(self._ring))

    def _at(self, age: int) -> Task:
        """The task held for the longest time but `age` others."""
        return self.parse.task(self._ring[(self._oldest + age) % len(self._ring)])

    def _age(self, new: Sequence[Proposal]) -> int:
        """Put what is newly held into the ring, each in the place of the oldest once the pool is full; how many that retired."""
        ring, keys, at = self._ring, self._keys, self._oldest
        room = self.capacity - len(ring)
        ring += new[:room]
        for proposal in new[room:]:
            keys.remove(ring[at][0])
            ring[at] = proposal
            at += 1
            if at == self.capacity:
                at = 0
        self._oldest = at
        return max(0, len(new) - room)

    def state_dict(self) -> dict[str, Any]:
        """The proposals held, oldest first."""
        return {"proposals": self._ring[self._oldest :] + self._ring[: self._oldest]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"proposals"}:
            raise ValueError(f"not a pool's state: it has {sorted(state)}")
        newest = state["proposals"][-self.capacity :]
        self._ring = [(tuple(key) if isinstance(key, list) else key, *rest) for key, *rest in newest]  # JSON has lists for tuples
        self._oldest, self._keys = 0, {key for key, *_ in self._ring}
