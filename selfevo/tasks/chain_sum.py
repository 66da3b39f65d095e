"""Chained sums: additions and subtractions taken one at a time, the running total always between 0 and 99."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

from ..errors import UserError
from ..records import Task
from .procedural import Procedural, Wording

TOP = 99
"""The largest running total."""


def terms(expression: str) -> tuple[int, list[tuple[str, int]]]:
    """"27+5-13" -> (27, [("+", 5), ("-", 13)])."""
    first, *rest = re.findall(r"[+-]?\d+", expression)
    return int(first), [(term[0], int(term[1:])) for term in rest]


def apply(total: int, sign: str, number: int) -> int:
    """One step: `total` plus or minus `number`."""
    return total + number if sign == "+" else total - number


class ChainSum(Procedural):
    """`27+5-13=?`, worked as `27+5=32`, `32-13=19`, `#### 19`. Level L has L operations.

    The first number is 0..99, every other 1..`largest`, and no running total leaves 0..99. With the defaults level 1 has 7,450
    distinct tasks, level 2 has 575,850, and each further level about 77 times as many.

    Args:
        levels: which levels to draw, each the number of operations.
        largest: largest number added or taken away, 1 to 99.
        wording: "terse" for the bundled policy, "full" for chat models.
    """

    name = "chain_sum"

    def __init__(self, levels: Sequence[int] = (1, 2, 3, 4, 5, 6), largest: int = 50, wording: Wording = "terse") -> None:
        super().__init__(levels, wording)
        if not 1 <= largest <= TOP:
            raise UserError(f"chain_sum: `largest` must lie in 1..{TOP}, got {largest}")
        self.largest = largest

    def make(self, level: int, rng: random.Random) -> Task:
        total = rng.randint(0, TOP)
        expression = str(total)
        for _ in range(level):
            signs = [sign for sign, room in (("+", TOP - total), ("-", total)) if room]
            sign = rng.choice(signs)
            number = rng.randint(1, min(self.largest, TOP - total if sign == "+" else total))
            total = apply(total, sign, number)
            expression += f"{sign}{number}"
        return self._of(expression)

    def parse(self, question: str) -> Task | None:
        if not re.fullmatch(r"\d{1,2}([+-][1-9]\d?)+=\?", question):
            return None
        total, rest = terms(question[:-2])
        for sign, number in rest:
            total = apply(total, sign, number)
            if not 0 <= total <= TOP or number > self.largest:
                return None
        return self._of(question[:-2])

    def steps(self, task: Task) -> list[str]:
        total, rest = terms(task.vars["expression"])
        lines = []
        for sign, number in rest:
            after = apply(total, sign, number)
            lines.append(f"{total}{sign}{number}={after}")
            total = after
        return lines

    def _of(self, expression: str) -> Task:
        total, rest = terms(expression)
        for sign, number in rest:
            total = apply(total, sign, number)
        full = f"Compute {expression} from left to right, one operation at a time."
        question = f"{expression}=?" if self.wording == "terse" else full
        return self._task(len(rest), question, str(total), {"expression": expression})
