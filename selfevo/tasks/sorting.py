"""Sorting: put a short list of numbers in ascending order, inserting one at a time."""

from __future__ import annotations

import random
import re
from bisect import insort
from collections.abc import Sequence

from ..errors import UserError
from ..records import Task
from .procedural import Procedural, Wording


class Sorting(Procedural):
    """`sort 5 2 9`, worked as `5`, `2 5`, `2 5 9`, `#### 2 5 9`. Level L has L+2 numbers, repeats allowed.

    With the defaults level L has 10^(L+2) distinct tasks.

    Args:
        levels: which levels to draw.
        largest: numbers are 0..`largest`.
        wording: "terse" for the bundled policy, "full" for chat models.
    """

    name = "sorting"

    def __init__(self, levels: Sequence[int] = (1, 2, 3, 4, 5), largest: int = 9, wording: Wording = "terse") -> None:
        super().__init__(levels, wording)
        if largest < 1:
            raise UserError(f"sorting: `largest` must be at least 1, got {largest}")
        self.largest = largest

    def make(self, level: int, rng: random.Random) -> Task:
        return self._of([rng.randint(0, self.largest) for _ in range(level + 2)])

    def parse(self, question: str) -> Task | None:
        if not re.fullmatch(r"sort( (0|[1-9]\d*)){3,}", question):
            return None
        items = [int(item) for item in question.split()[1:]]
        return self._of(items) if max(items) <= self.largest else None

    def steps(self, task: Task) -> list[str]:
        done: list[int] = []
        lines = []
        for item in task.vars["items"]:
            insort(done, item)
            lines.append(" ".join(map(str, done)))
        return lines

    def _of(self, items: list[int]) -> Task:
        listed = " ".join(map(str, items))
        full = f"Sort these numbers in ascending order: {listed}. Answer with the numbers separated by spaces."
        question = f"sort {listed}" if self.wording == "terse" else full
        return self._task(len(items) - 2, question, " ".join(map(str, sorted(items))), {"items": items})
