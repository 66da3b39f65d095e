"""ByLevel: harder levels are unlocked over iterations, or once the hardest open one is mastered."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

from ..errors import UserError
from ..protocols import Number, RunCtx, TaskSource
from ..records import Row, Task
from ..tasks.cells import cells_of
from .drawing import distinct, log_outcomes, outcomes, stream


class ByLevel:
    """Draws from the easiest open levels of a source; the number of open levels only grows.

    Open levels after iteration t: `start + t // every` on a schedule; by mastery, one more whenever at least `threshold` of the last
    `window` outcomes at the hardest open level were solved (the count starts anew at each level).

    tasks: a source whose tasks carry levels.
    start: how many levels are open at first.
    every: iterations per level. threshold: success rate that opens the next one. Exactly one of the two is given.
    window: outcomes (rows, not tasks) that mastery is judged on.
    frontier: share of draws from the hardest open level, the others sharing the rest; None: all open levels alike.
    reward, correct: a row is solved when this reward is at least `correct`; rows without it are not outcomes.
    """

    def __init__(
        self,
        tasks: TaskSource,
        start: int = 1,
        every: int | None = None,
        threshold: Number | None = None,
        window: int = 64,
        frontier: Number | None = None,
        reward: str = "score",
        correct: float = 0.5,
    ):
        if (every is None) == (threshold is None):
            raise UserError("ByLevel: give either 'every' (a schedule) or 'threshold' (mastery), and not both")
        for name, value in (("start", start), ("every", every), ("window", window)):
            if value is not None and value < 1:
                raise UserError(f"ByLevel: {name} is {value}; expected at least 1")
        self.tasks, self.start, self.every, self.threshold, self.window = tasks, start, every, threshold, window
        self.frontier, self.reward, self.correct = frontier, reward, correct
        self._open = start
        self._recent: deque[bool] = deque(maxlen=window)

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks from the open levels."""
        levels = self._levels()
        if self.every is not None:
            self._open = max(self._open, self.start + ctx.iteration // self.every)
        open_levels = levels[: self._open]
        ctx.log("curriculum/open_levels", len(open_levels))
        rng, share = stream(ctx), None if self.frontier is None else ctx.value(self.frontier)

        def draw() -> Task:
            if share is None or len(open_levels) == 1:
                level = rng.choice(open_levels)
            else:
                level = open_levels[-1] if rng.random() < share else rng.choice(open_levels[:-1])
            return self.tasks.draw(rng, None, level)

        return distinct(n, draw)

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Count outcomes at the hardest open level and open the next one when it is mastered (at most one per call)."""
        results = outcomes(rows, self.reward, self.correct)
        log_outcomes(ctx, results)
        levels = self._levels()
        if self.threshold is None or self._open >= len(levels):
            return
        self._recent.extend(solved for task, solved in results if task.difficulty == levels[self._open - 1])
        if len(self._recent) == self.window and sum(self._recent) >= ctx.value(self.threshold) * self.window:
            self._open += 1
            self._recent.clear()

    def state_dict(self) -> dict[str, Any]:
        """Number of open levels and the recent outcomes at the hardest, oldest first ("0110")."""
        return {"open": self._open, "recent": "".join("01"[solved] for solved in self._recent)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a state that does not fit the window."""
        if set(state) != {"open", "recent"} or len(state["recent"]) > self.window:
            raise ValueError(f"not a state of ByLevel with window {self.window}: {state}")
        self._open = int(state["open"])
        self._recent = deque((mark == "1" for mark in state["recent"]), maxlen=self.window)

    def _levels(self) -> list[float]:
        levels = sorted({level for _, level in cells_of(self.tasks) if level is not None})
        if not levels:
            raise UserError("ByLevel: the task source has no levels; use a source whose tasks carry a difficulty")
        return levels
