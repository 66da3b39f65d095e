"""Epochs: passes over a finite source in shuffled order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import islice
from typing import Any

from ..errors import UserError
from ..protocols import RunCtx, TaskSource
from ..records import Row, Task
from .drawing import log_outcomes, outcomes


class Epochs:
    """Every task of a finite source once per epoch, in an order shuffled anew for each; a call may run over the end of an epoch.

    tasks: a finite source.
    shuffle: False keeps the source's order.
    reward, correct: a row counts as solved in the metrics when this reward is at least `correct`.
    """

    def __init__(self, tasks: TaskSource, shuffle: bool = True, reward: str = "score", correct: float = 0.5):
        if not hasattr(type(tasks), "__len__") or not hasattr(type(tasks), "__iter__"):
            raise UserError(f"Epochs needs a finite task source, and {type(tasks).__name__} is endless; use selfevo.curricula.Uniform")
        self.tasks, self.shuffle, self.reward, self.correct = tasks, shuffle, reward, correct
        self._epoch, self._at, self._seed = 0, 0, -1
        self._order: list[int] = []

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """The next `n` tasks. What was refused is not handed out again before the next epoch."""
        if self._seed < 0:
            self._begin(ctx)
        picks: list[int] = []
        while len(picks) < n:
            if self._at == len(self._order):
                self._epoch += 1
                self._begin(ctx)
            taken = self._order[self._at : self._at + n - len(picks)]
            self._at += len(taken)
            picks += taken
        ctx.log("curriculum/epoch", self._epoch + self._at / len(self._order))
        return [pick(self.tasks, i) for i in picks]

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Log levels, shares and success rates; nothing is learned."""
        log_outcomes(ctx, outcomes(rows, self.reward, self.correct))

    def state_dict(self) -> dict[str, Any]:
        """Epoch, position in it and the seed of its order."""
        return {"epoch": self._epoch, "at": self._at, "seed": self._seed, "size": len(self._order)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the source no longer has the size it had."""
        if set(state) != {"epoch", "at", "seed", "size"}:
            raise ValueError(f"not a state of Epochs: it has {sorted(state)}")
        if state["seed"] >= 0 and state["size"] != len(self.tasks):  # type: ignore[arg-type]
            raise ValueError(f"the state of Epochs is for {state['size']} tasks, the source has {len(self.tasks)}")  # type: ignore[arg-type]
        self._epoch, self._at, self._seed = state["epoch"], state["at"], state["seed"]
        self._order = self._shuffled() if self._seed >= 0 else []

    def _begin(self, ctx: RunCtx) -> None:
        self._seed, self._at = ctx.seed("epoch", ctx.name, self._epoch), 0
        self._order = self._shuffled()

    def _shuffled(self) -> list[int]:
        order = list(range(len(self.tasks)))  # type: ignore[arg-type]
        if not order:
            raise UserError("Epochs: the task source is empty; see its path, split and filters")
        if self.shuffle:
            random.Random(self._seed).shuffle(order)
        return order


def pick(tasks: TaskSource, index: int) -> Task:
    """Task `index` of a finite source: by indexing where it can, else by counting through it."""
    if hasattr(type(tasks), "__getitem__"):
        task: Task = tasks[index]  # type: ignore[index]
        return task
    return next(islice(iter(tasks), index, None))  # type: ignore[call-overload]
