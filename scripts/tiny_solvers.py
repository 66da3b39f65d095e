"""Solvers that slip: the worked solutions that the demonstrations of the tiny policy are made of.

A slip makes one step wrong and every later step follows from the wrong value. The commonest are a forgotten carry and a forgotten
borrow. Gold solutions come from the task families themselves.
"""

from __future__ import annotations

import random
from bisect import bisect, insort
from collections.abc import Callable
from dataclasses import dataclass

from selfevo.records import Task
from selfevo.tasks import ChainSum, Countdown, Operators, Procedural, Sorting
from selfevo.tasks import chain_sum as sums
from selfevo.tasks import countdown as make
from selfevo.tasks import operators as ops

FAMILIES: dict[str, Procedural] = {
    "chain_sum": ChainSum(), "countdown": Countdown(), "sorting": Sorting(), "operators": Operators(levels=(1, 2), world=None)
}
PLAIN, CARRY, BORROW = 0.15, 0.34, 0.52
"""Chance that an addition or subtraction of a chained sum slips: in general, with a carry (forgotten), with a borrow (forgotten)."""
MISPLACED, UNREACHED, MISCOUNTED = 0.11, 0.4, 0.05
"""Chance that sorting puts an item one place off, that a countdown expression is any at all, that an operator's line is off by one."""
ADVISED = 0.15
"""What is left of a slip's chance where the prompt warns of it."""


@dataclass(frozen=True)
class Solution:
    """A worked solution: its lines and the answer it ends in."""

    lines: list[str]
    answer: str

    def __str__(self) -> str:
        return "\n".join([*self.lines, f"#### {self.answer}"])


@dataclass(frozen=True)
class Care:
    """How often a solver slips: every chance times `scale`, less where `advice` names the slip; the first `given` steps are right."""

    scale: float = 1.0
    given: int = 0
    advice: frozenset[str] = frozenset()


def slip_chance(total: int, sign: str, number: int, advice: frozenset[str]) -> tuple[float, int]:
    """Chance of the typical slip of one step, and what that slip adds to the result (0: any small error)."""
    if 0 <= total <= sums.TOP:
        if sign == "+" and total % 10 + number % 10 > 9:
            return CARRY * (ADVISED if "carry" in advice else 1), -10
        if sign == "-" and total % 10 < number % 10:
            return BORROW * (ADVISED if "borrow" in advice else 1), 10
    return PLAIN, 0


def attempt_sum(task: Task, rng: random.Random, care: Care) -> Solution:
    """A chained sum with slips; steps after a slip follow from the wrong total."""
    total, rest = sums.terms(task.vars["expression"])
    lines = []
    for i, (sign, number) in enumerate(rest):
        after = sums.apply(total, sign, number)
        chance, error = slip_chance(total, sign, number, care.advice)
        if i >= care.given and rng.random() < chance * care.scale:
            after += error or rng.choice((-10, -1, 1, 10))
        lines.append(f"{total}{sign}{number}={after}")
        total = after
    return Solution(lines, str(total))


def attempt_countdown(task: Task, rng: random.Random, care: Care) -> Solution:
    """A countdown: often a fold that reaches the target, else one that does not."""
    numbers, target = list(task.vars["numbers"]), task.vars["target"]
    if care.given or rng.random() >= UNREACHED * care.scale:
        fold = next(make.folds(numbers, target))
    else:
        rng.shuffle(numbers)
        total, path = numbers[0], []
        for number in numbers[1:]:
            sign = rng.choice([s for s in make.SIGNS if 0 <= make.step(total, s, number) <= make.TOP] or ["-"])
            total = make.step(total, sign, number)
            path.append((sign, number))
        fold = (numbers[0], tuple(path))
    return Solution(make.worked(fold), make.written(fold))


def attempt_sorting(task: Task, rng: random.Random, care: Care) -> Solution:
    """Insertion sort in which an item may land one place off."""
    done: list[int] = []
    lines = []
    for i, item in enumerate(task.vars["items"]):
        chance = MISPLACED * care.scale * (ADVISED if "place" in care.advice else 1)
        if done and i >= care.given and rng.random() < chance:
            place = bisect(done, item) + rng.choice((-1, 1))
            done.insert(min(max(place, 0), len(done)), item)
        else:
            insort(done, item)
        lines.append(" ".join(map(str, done)))
    return Solution(lines, lines[-1])


def attempt_operators(task: Task, rng: random.Random, care: Care, rule: tuple[int, int] | None = None) -> Solution:
    """The rule (or `rule`, a guess) written down and applied, each line with a small chance of an error of one."""
    p, q = rule or task.vars["weights"]
    total, *rest = task.vars["numbers"]
    lines = [ops.stated(task.vars["symbol"], (p, q))]

    def line(text: str, value: int) -> int:
        if len(lines) >= care.given and rng.random() < MISCOUNTED * care.scale:
            value += rng.choice((-1, 1))
        lines.append(f"{text}={value}")
        return value

    for number in rest:
        left = line(f"{p}*{total}", p * total) if p != 1 else total
        right = line(f"{q}*{number}", q * number) if q != 1 else number
        total = line(f"{left}+{right}", left + right)
    return Solution(lines, str(total))


ATTEMPT: dict[str, Callable[[Task, random.Random, Care], Solution]] = {
    "chain_sum": attempt_sum, "countdown": attempt_countdown, "sorting": attempt_sorting, "operators": attempt_operators
}


def correct(task: Task, solution: Solution) -> bool:
    """Whether the final answer is right (for countdown: whether the worked lines, whose arithmetic is true, end in the target)."""
    if task.category == "countdown":
        return solution.lines[-1].endswith(f"={task.vars['target']}")
    return solution.answer == task.answer


def gold(task: Task) -> Solution:
    """The family's correct worked solution."""
    return Solution(FAMILIES[task.category].steps(task), task.answer or "")


def wrong(task: Task, rng: random.Random) -> Solution | None:
    """A wrong solution (for operators often one by a wrong rule), or None where none turned up."""
    for _ in range(12):
        if task.category == "operators" and rng.random() < 0.3:
            solution = attempt_operators(task, rng, Care(), rng.choice(ops.RULES))
        else:
            solution = ATTEMPT[task.category](task, rng, Care(1.6))
        if not correct(task, solution):
            return solution
    return None


def differs_at(a: Solution, b: Solution) -> int:
    """Index of the first line in which two solutions differ (the number of lines where none does)."""
    same = [x == y for x, y in zip(a.lines, b.lines, strict=False)]
    return same.index(False) if False in same else len(same)


def checked(task: Task, given: Solution) -> list[str]:
    """The lines by which a verifier checks a solution, ending at the first that fails.

    Sums, countdown and operators: every step done again, followed by `/` and the value that the solution states. Countdown then
    sets the value against the target. Sorting: the answer copied up to the first number smaller than the one before.
    """
    if task.category == "sorting":
        items = given.answer.split()
        falls = [i for i in range(1, len(items)) if int(items[i]) < int(items[i - 1])]
        return [" ".join(items[: falls[0] + 1] if falls else items)]
    if task.category == "countdown":
        lines, true = paired(given.lines, [f"{left}={_value(left)}" for left, _ in map(_split, given.lines)])
        return [*lines, f"{_split(given.lines[-1])[1]}/{task.vars['target']}"] if true else lines
    best = gold(task)
    return paired(given.lines, best.lines)[0] if given.lines else [*best.lines[:-1], f"{best.lines[-1]}/{given.answer}"]


def paired(given: list[str], own: list[str]) -> tuple[list[str], bool]:
    """Own lines with the values of the given ones behind a slash, up to the first that differs; whether none did."""
    lines = []
    for theirs, mine in zip(given, own, strict=False):
        lines.append(mine if mine.startswith("a") else f"{mine}/{_split(theirs)[1]}")
        if theirs != mine:
            return lines, False
    return lines, True


def _split(line: str) -> tuple[str, str]:
    left, _, right = line.rpartition("=")
    return left, right


def _value(left: str) -> int:
    """The value of one operation such as "8*8" or "-3+5"."""
    at = max(left.rfind(sign) for sign in make.SIGNS)
    if left[at - 1] in make.SIGNS:
        at -= 1
    return make.step(int(left[:at]), left[at], int(left[at + 1 :]))
