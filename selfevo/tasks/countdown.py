"""Countdown: combine every given number once with + - * to reach a target; any expression that does so is right."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from ..errors import UserError
from ..records import Task
from .procedural import Procedural, Wording

TOP = 99
SIGNS = "+-*"
Fold = tuple[int, tuple[tuple[str, int], ...]]
"""A first number and the (sign, number) pairs applied to it in turn, left to right."""


def step(total: int, sign: str, number: int) -> int:
    """`total sign number`."""
    return total + number if sign == "+" else total - number if sign == "-" else total * number


def folds(numbers: Sequence[int], target: int) -> Iterator[Fold]:
    """Every left-to-right way to reach `target` from all `numbers` with intermediate values in 0..99, in a fixed order."""

    def search(total: int, left: Counter[int], path: tuple[tuple[str, int], ...]) -> Iterator[tuple[tuple[str, int], ...]]:
        rest = sorted(number for number, count in left.items() if count)
        if not rest:
            if total == target:
                yield path
            return
        for number in rest:
            left[number] -= 1
            for sign in SIGNS:
                if 0 <= step(total, sign, number) <= TOP:
                    yield from search(step(total, sign, number), left, (*path, (sign, number)))
            left[number] += 1

    for first in sorted(set(numbers)):
        for path in search(first, Counter(numbers) - Counter([first]), ()):
            yield first, path


def written(fold: Fold) -> str:
    """The fold as an ordinary expression: (3, (+5, *8)) -> "(3+5)*8"."""
    text, sums = str(fold[0]), False
    for sign, number in fold[1]:
        text = f"({text})*{number}" if sign == "*" and sums else f"{text}{sign}{number}"
        sums = sign != "*"
    return text


def worked(fold: Fold) -> list[str]:
    """One line per operation: (3, (+5, *8)) -> ["3+5=8", "8*8=64"]."""
    total, lines = fold[0], []
    for sign, number in fold[1]:
        after = step(total, sign, number)
        lines.append(f"{total}{sign}{number}={after}")
        total = after
    return lines


class Countdown(Procedural):
    """`make 64 from 3 5 8`, worked as `3+5=8`, `8*8=64`, `#### (3+5)*8`. Level L needs L operations on L+1 numbers.

    `vars["numbers"]` (list of ints) and `vars["target"]` (int) let a verifier check any expression; `answer` is the first one of
    a fixed search order, a function of numbers and target alone. Numbers are 1..`largest`, targets and intermediate values 0..99.
    With the defaults level 1 has 535 distinct tasks, level 2 has 13,486 and level 3 more than 76,000.

    Args:
        levels: which levels to draw (1 to 4), each the number of operations.
        largest: largest given number, 2 to 99.
        wording: "terse" for the bundled policy, "full" for chat models.
    """

    name = "countdown"
    deepest = 4

    def __init__(self, levels: Sequence[int] = (1, 2, 3), largest: int = 20, wording: Wording = "terse") -> None:
        super().__init__(levels, wording)
        if not 2 <= largest <= TOP:
            raise UserError(f"countdown: `largest` must lie in 2..{TOP}, got {largest}")
        self.largest = largest

    def make(self, level: int, rng: random.Random) -> Task:
        total = rng.randint(1, self.largest)
        numbers = [total]
        for _ in range(level):
            number = rng.randint(1, self.largest)
            total = rng.choice([after for sign in SIGNS if 0 <= (after := step(total, sign, number)) <= TOP] or [-1])
            if total < 0:
                return self.make(level, rng)
            numbers.append(number)
        return self._of(sorted(numbers), total)

    def parse(self, question: str) -> Task | None:
        match = re.fullmatch(r"make (\d{1,2}) from ([1-9]\d?(?: [1-9]\d?)+)", question)
        if match is None:
            return None
        numbers, target = sorted(map(int, match[2].split())), int(match[1])
        if len(numbers) > self.deepest + 1 or numbers[-1] > self.largest or next(folds(numbers, target), None) is None:
            return None
        return self._of(numbers, target)

    def steps(self, task: Task) -> list[str]:
        return worked(next(folds(task.vars["numbers"], task.vars["target"])))

    def _of(self, numbers: list[int], target: int) -> Task:
        listed = " ".join(map(str, numbers))
        full = f"Reach {target} with +, - and *, using each of the numbers {listed} exactly once. Answer with the expression."
        question = f"make {target} from {listed}" if self.wording == "terse" else full
        answer = written(next(folds(numbers, target)))
        return self._task(len(numbers) - 1, question, answer, {"numbers": numbers, "target": target})
