"""Window: prefer what is neither always solved nor never solved."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, Literal

from ..errors import UserError
from ..protocols import Number, RunCtx, TaskSource
from ..records import Row, Task
from ..tasks.cells import Cell, cells_of
from .drawing import distinct, log_outcomes, outcomes, stream
from .epochs import pick
from .fenwick import FenwickSet


class Window:
    """Draws items whose running success rate s lies strictly between `low` and `high`, since a group of all right or all wrong answers has
    no group-relative advantage (online difficulty filtering; compare DAPO's dynamic sampling, arXiv 2503.14476).

    An item is a task of a finite source, or a (category, level) cell of any source. s is the share solved among its last `size`
    outcomes; an item with fewer than `least` outcomes counts as inside. With probability `floor` a draw is uniform over all items
    instead, so that nothing is out of reach for good; it is uniform too when nothing is inside. Draws take O(log n).

    tasks: where tasks come from.
    by: "cell" or "task" (finite sources only).
    low, high: the window; (0, 1) leaves out exactly the always wrong and the always right.
    size: outcomes (rows) kept per item. least: outcomes before s is believed.
    floor: probability of a uniform draw.
    reward, correct: a row is solved when this reward is at least `correct`; rows without it are not outcomes.
    """

    def __init__(
        self,
        tasks: TaskSource,
        by: Literal["cell", "task"] = "cell",
        low: float = 0.0,
        high: float = 1.0,
        size: int = 64,
        least: int = 8,
        floor: Number = 0.1,
        reward: str = "score",
        correct: float = 0.5,
    ):
        if not 0 <= low < high <= 1:
            raise UserError(f"Window: low {low} and high {high}; expected 0 <= low < high <= 1")
        if not 1 <= least <= size:
            raise UserError(f"Window: least {least} and size {size}; expected 1 <= least <= size")
        if isinstance(floor, (int, float)) and not 0 <= floor <= 1:
            raise UserError(f"Window: floor {floor}; expected a probability")
        if by not in ("cell", "task"):
            raise UserError(f"Window: by is '{by}'; expected 'cell' or 'task'")
        if by == "task" and not hasattr(type(tasks), "__len__"):
            raise UserError(f"Window: by 'task' needs a finite source, and {type(tasks).__name__} is endless; use by 'cell'")
        self.tasks, self.by, self.low, self.high, self.size, self.least = tasks, by, low, high, size, least
        self.floor, self.reward, self.correct = floor, reward, correct
        self._inside: FenwickSet | None = None
        self._cells: tuple[Cell, ...] = ()
        self._number: dict[Cell, int] = {}
        self._recent: dict[int, str] = {}  # item to its last outcomes, oldest first: "0110"
        self._item: dict[str, int] = {}  # task id to item, for tasks that were handed out

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks, from the window but for the share `floor`."""
        inside = self._ready()
        floor, rng = ctx.value(self.floor), stream(ctx)
        ctx.log("curriculum/inside", inside.count / inside.n)

        def draw() -> Task:
            everywhere = rng.random() < floor or not inside.count
            return self._task(rng.randrange(inside.n) if everywhere else inside.draw(rng), rng)

        return distinct(n, draw)

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Add each outcome to its item; outcomes of tasks that are no item of this source are counted and left alone."""
        inside = self._ready()
        results = outcomes(rows, self.reward, self.correct)
        log_outcomes(ctx, results)
        foreign, changed = 0, set()
        for task, solved in results:
            item = self._item_of(task)
            if item is None:
                foreign += 1
                continue
            self._recent[item] = (self._recent.get(item, "") + "01"[solved])[-self.size :]
            changed.add(item)
        for item in changed:
            inside.set(item, self._is_inside(self._recent[item]))
        if foreign:
            ctx.log("curriculum/foreign", foreign)
        ctx.log("curriculum/inside", inside.count / inside.n)

    def rate(self, item: int) -> float | None:
        """Success rate of an item (index of the task or cell), None before its first outcome."""
        recent = self._recent.get(item, "")
        return recent.count("1") / len(recent) if recent else None

    def state_dict(self) -> dict[str, Any]:
        """Outcomes of the items seen, the tasks handed out, and the number of items they belong to."""
        size = self._inside.n if self._inside is not None else None
        return {"items": size, "recent": {str(i): marks for i, marks in sorted(self._recent.items())}, "handed_out": dict(self._item)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the source no longer has as many items."""
        if set(state) != {"items", "recent", "handed_out"}:
            raise ValueError(f"not a state of Window: it has {sorted(state)}")
        self._inside = None
        inside = self._ready()
        if state["items"] not in (None, inside.n):
            raise ValueError(f"the state of Window is for {state['items']} items, the source has {inside.n}")
        self._recent = {int(i): marks for i, marks in state["recent"].items()}
        self._item = dict(state["handed_out"])
        for item, marks in self._recent.items():
            inside.set(item, self._is_inside(marks))

    def _ready(self) -> FenwickSet:
        if self._inside is None:
            if self.by == "cell":
                self._cells = cells_of(self.tasks)
                self._number = {cell: i for i, cell in enumerate(self._cells)}
            n = len(self._cells) if self.by == "cell" else len(self.tasks)  # type: ignore[arg-type]
            if n == 0:
                raise UserError("Window: the task source is empty; see its path, split and filters")
            self._inside = FenwickSet(n)
        return self._inside

    def _is_inside(self, recent: str) -> bool:
        return len(recent) < self.least or self.low < recent.count("1") / len(recent) < self.high

    def _task(self, item: int, rng: random.Random) -> Task:
        if self.by == "cell":
            return self.tasks.draw(rng, *self._cells[item])
        task = pick(self.tasks, item)
        self._item[task.id] = item
        return task

    def _item_of(self, task: Task) -> int | None:
        if self.by == "task":
            return self._item.get(task.id)
        return self._number.get((task.category, task.difficulty))
