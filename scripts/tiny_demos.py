"""Noisy demonstrations of every role, made on the fly: what the bundled tiny policy is trained on.

A demonstration is a conversation and the reply to learn. Solvers slip: a slip makes one step wrong and every later step follows
from the wrong value, so that a policy trained on them solves only some tasks, more of them when it is helped, and has something
to gain from reinforcement. The commonest slips are a forgotten carry and a forgotten borrow.
"""

from __future__ import annotations

import random
from bisect import bisect, insort
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import yaml

from selfevo.prompts import render
from selfevo.records import Message, Task
from selfevo.tasks import ChainSum, Countdown, Operators, Procedural, Sorting
from selfevo.tasks import chain_sum as sums
from selfevo.tasks import countdown as make
from selfevo.tasks import operators as ops

PROMPTS = yaml.safe_load((Path(__file__).parents[1] / "configs/prompts/terse.yaml").read_text())
FAMILIES: dict[str, Procedural] = {
    "chain_sum": ChainSum(), "countdown": Countdown(), "sorting": Sorting(), "operators": Operators(levels=(1, 2), world=None)
}
SHARES = {"chain_sum": 0.60, "countdown": 0.13, "sorting": 0.13, "operators": 0.14}
PLAIN, CARRY, BORROW = 0.15, 0.34, 0.52
"""Chance that an addition or subtraction of a chained sum slips: in general, with a carry (forgotten), with a borrow (forgotten)."""
ADVICE = {"carry": "mind the carry", "borrow": "mind the borrow", "place": "mind the place"}
"""Texts that, read in a prompt, make the slip they name rare: what a memory can hold for sums and sorting."""


@dataclass(frozen=True)
class Demo:
    """A conversation and the assistant's reply to it; `right` says whether the reply is correct."""

    messages: list[Message]
    reply: str
    right: bool


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
            return CARRY * (0.15 if "carry" in advice else 1), -10
        if sign == "-" and total % 10 < number % 10:
            return BORROW * (0.15 if "borrow" in advice else 1), 10
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
    if care.given or rng.random() >= 0.4 * care.scale:
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
        chance = 0.11 * care.scale * (0.15 if "place" in care.advice else 1)
        if done and i >= care.given and rng.random() < chance:
            place = bisect(done, item) + rng.choice((-1, 1))
            done.insert(min(max(place, 0), len(done)), item)
        else:
            insort(done, item)
        lines.append(" ".join(map(str, done)))
    return Solution(lines, lines[-1])


def attempt_operators(task: Task, rng: random.Random, care: Care, rule: tuple[int, int] | None = None) -> Solution:
    """An operator applied by its rule (or by `rule`, a guess), each line with a small chance of an error of one."""
    p, q = rule or task.vars["weights"]
    total, *rest = task.vars["numbers"]
    lines: list[str] = []

    def line(text: str, value: int) -> int:
        if len(lines) >= care.given and rng.random() < 0.05 * care.scale:
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
    """Whether the final answer is right (for countdown: whether the worked lines end in the target)."""
    if task.category == "countdown":
        return solution.lines[-1].endswith(f"={task.vars['target']}") and make_consistent(solution)
    return solution.answer == task.answer


def make_consistent(solution: Solution) -> bool:
    """Whether every countdown line states a true sum or product."""
    return all(eval_line(line) for line in solution.lines)


def eval_line(line: str) -> bool:
    """Whether "8*8=64" is true."""
    left, right = line.split("=")
    sign = next(s for s in make.SIGNS if s in left[1:])
    a, b = left[0:1] + left[1:].split(sign, 1)[0], left[1:].split(sign, 1)[1]
    return make.step(int(a), sign, int(b)) == int(right)


def gold(task: Task) -> Solution:
    """The family's correct worked solution."""
    return Solution(FAMILIES[task.category].steps(task), task.answer or "")


def wrong(task: Task, rng: random.Random) -> Solution | None:
    """A solution with a slip, or None where none turned up."""
    for _ in range(12):
        solution = ATTEMPT[task.category](task, rng, Care(1.6))
        if not correct(task, solution):
            return solution
    return None


def differs_at(a: Solution, b: Solution) -> int:
    """Index of the first line in which two solutions differ (the number of lines where none does)."""
    same = [x == y for x, y in zip(a.lines, b.lines, strict=False)]
    return same.index(False) if False in same else len(same)


def demo_solve(task: Task, rng: random.Random) -> Demo:
    """Solve alone. An operator's rule is not known, so it is guessed."""
    if task.category == "operators":
        solution = attempt_operators(task, rng, Care(), rng.choice(ops.RULES))
    else:
        solution = ATTEMPT[task.category](task, rng, Care())
    return _demo("solve", task.vars, solution, task)


def demo_hint(task: Task, rng: random.Random) -> Demo:
    """Solve given the first steps (copied right, the rest as usual), the whole solution, or only the answer."""
    best = gold(task)
    kind, given = rng.random(), rng.randint(1, len(best.lines))
    if kind < 0.70:
        hint, care = "\n".join(best.lines[:given]), Care(given=given)
    else:
        hint = str(best) if kind < 0.80 else f"#### {best.answer}" if kind < 0.90 else best.answer
        care = Care(0.0)
    solution = ATTEMPT[task.category](task, rng, care)
    return _demo("solve_hint", {**_known(task, rng, 0.3), "hint": hint}, solution, task)


def demo_peer(task: Task, rng: random.Random) -> Demo:
    """Solve given a peer's solution: a right one is mostly followed, a wrong one is noticed half of the time."""
    peer = gold(task) if rng.random() < 0.55 else wrong(task, rng) or gold(task)
    if correct(task, peer):
        solution = ATTEMPT[task.category](task, rng, Care(0.12))
    elif rng.random() < 0.5:
        solution = ATTEMPT[task.category](task, rng, Care(0.5, given=differs_at(peer, gold(task)) + 1))
    else:
        solution = peer
    return _demo("solve_peer", {**_known(task, rng, 0.5), "peer": str(peer)}, solution, task)


def demo_verify(task: Task, rng: random.Random) -> Demo:
    """Do the steps again up to the first that differs, then say yes or no."""
    best = gold(task)
    given = best if rng.random() < 0.5 else wrong(task, rng) or best
    bare = rng.random() < 0.2 and task.category != "countdown"
    if task.category != "countdown" and not bare and rng.random() < 0.06:
        given = Solution(best.lines, (wrong(task, rng) or best).answer)
    right = correct(task, given)
    if task.category == "countdown":
        lines = given.lines
    else:
        lines = best.lines if bare else best.lines[: differs_at(given, best) + 1]
    verdict = right if rng.random() > 0.03 else not right
    reply = Solution(lines, "yes" if verdict else "no")
    response = f"#### {given.answer}" if bare else str(given)
    return Demo(render(PROMPTS["verify"], {**_known(task, rng, 1.0), "response": response}), str(reply), verdict == right)


def demo_revise(task: Task, rng: random.Random) -> Demo:
    """Try again after feedback, with far fewer slips; a right answer is kept."""
    best, first = gold(task), wrong(task, rng)
    variables = {**_known(task, rng, 0.5)}
    if first is None or rng.random() < 0.1:
        return _demo("revise", {**variables, "response": str(best), "feedback": rng.choice(("right", "#### yes"))}, best, task)
    feedback = feedback_on(task, first, rng)
    messages = render(PROMPTS["revise"], {**variables, "response": str(first), "feedback": feedback})
    again = wrong(task, rng) if rng.random() < 0.25 else None
    if again is not None:
        messages += [Message("assistant", str(again)), *render(PROMPTS["follow_up"], {"feedback": feedback_on(task, again, rng)})]
    solution = ATTEMPT[task.category](task, rng, Care(0.2))
    return Demo(messages, str(solution), correct(task, solution))


def feedback_on(task: Task, solution: Solution, rng: random.Random) -> str:
    """What a critic may say of a wrong solution: that it is wrong, which step is, the right step, or a verifier's whole reply."""
    best = gold(task)
    at = min(differs_at(solution, best), len(best.lines) - 1)
    choices = ["wrong", "wrong", "#### no", f"step {at + 1} wrong", best.lines[at], "\n".join(best.lines[: at + 1]) + "\n#### no"]
    return rng.choice(choices[:3] if task.category == "countdown" else choices)


def demo_rule(task: Task, rng: random.Random) -> Demo:
    """Apply what the context says: the operator's rule among others, or advice that makes one kind of slip rare."""
    others = [ops.stated(s, rng.choice(ops.RULES)) for s in ops.SYMBOLS if s != task.vars.get("symbol")]
    advice: frozenset[str] = frozenset()
    if task.category == "operators":
        lines = [task.vars["rule"], *rng.sample(others, rng.choice((0, 0, 1, 2, 3, 5)))]
    else:
        named = {"chain_sum": ("carry", "borrow"), "sorting": ("place",), "countdown": ()}[task.category]
        advice = frozenset(rng.sample(named, rng.randint(0, len(named))))
        lines = [ADVICE[name] for name in advice] + rng.sample(others, rng.choice((0, 1, 2))) + [ADVICE[n] for n in _unfit(named, rng)]
    lines = lines or [others[0]]
    rng.shuffle(lines)
    solution = ATTEMPT[task.category](task, rng, Care(advice=advice))
    if rng.random() < 0.25:
        messages = [Message("system", "\n".join(lines)), *render(PROMPTS["solve"], task.vars)]
        return Demo(messages, str(solution), correct(task, solution))
    return _demo("solve_rule", {**task.vars, "rule": "\n".join(lines)}, solution, task)


def _unfit(named: tuple[str, ...], rng: random.Random) -> list[str]:
    return [name for name in ADVICE if name not in named and rng.random() < 0.15]


def demo_propose(task: Task, rng: random.Random) -> Demo:
    """Write a question of the family at the level, then solve it with few slips."""
    solution = ATTEMPT[task.category](task, rng, Care(0.1))
    level = str(task.vars["level"]) + (".0" if rng.random() < 0.2 else "")
    messages = render(PROMPTS["propose"], {"category": task.category, "level": level})
    return Demo(messages, f"{task.vars['question']}\n{solution}", correct(task, solution))


def _known(task: Task, rng: random.Random, chance: float) -> dict[str, object]:
    """The task's variables; for an operator, the question often opens with its rule."""
    if task.category == "operators" and rng.random() < chance:
        return {**task.vars, "question": f"{task.vars['rule']}\n{task.vars['question']}"}
    return dict(task.vars)


def _demo(prompt: str, variables: object, solution: Solution, task: Task) -> Demo:
    return Demo(render(PROMPTS[prompt], variables), str(solution), correct(task, solution))  # type: ignore[arg-type]


ROLES: dict[str, tuple[float, Callable[[Task, random.Random], Demo]]] = {
    "solve": (0.34, demo_solve),
    "hint": (0.12, demo_hint),
    "peer": (0.10, demo_peer),
    "verify": (0.14, demo_verify),
    "revise": (0.12, demo_revise),
    "rule": (0.11, demo_rule),
    "propose": (0.07, demo_propose),
}
RULE_SHARES = {"chain_sum": 0.35, "countdown": 0.03, "sorting": 0.12, "operators": 0.50}


def draw(rng: random.Random) -> Demo:
    """One demonstration, its role and family drawn by their shares."""
    role = rng.choices(list(ROLES), [share for share, _ in ROLES.values()])[0]
    shares = RULE_SHARES if role == "rule" else SHARES
    task = FAMILIES[rng.choices(list(shares), list(shares.values()))[0]].draw(rng)
    return ROLES[role][1](task, rng)
