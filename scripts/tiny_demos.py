"""Noisy demonstrations of every role, made on the fly: what the bundled tiny policy is trained on.

A demonstration is a conversation and the reply to learn. Its solvers slip (`tiny_solvers`), less so when they are helped: a policy
trained on them solves only some tasks, more of them with a hint, a peer, feedback or a rule, and can gain from reinforcement.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml
from tiny_solvers import ATTEMPT, FAMILIES, Care, Solution, attempt_operators, checked, correct, differs_at, gold, wrong

from selfevo.prompts import render
from selfevo.records import Message, Task
from selfevo.tasks import operators as ops

PROMPTS = yaml.safe_load((Path(__file__).parents[1] / "configs/prompts/terse.yaml").read_text())
ADVICE = {"carry": "mind the carry", "borrow": "mind the borrow", "place": "mind the place"}
"""Texts that, read in a prompt, make the slip they name rare: what a memory can hold for sums and sorting."""


@dataclass(frozen=True)
class Demo:
    """A conversation and the assistant's reply to it; `right` says whether the reply is correct."""

    messages: list[Message]
    reply: str
    right: bool


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
    """Check line by line up to the first that fails, then say yes or no."""
    best = gold(task)
    given = best if rng.random() < 0.53 else wrong(task, rng) or best
    if task.category == "countdown" and rng.random() < 0.15:
        given = miscounted(given, rng)
    if task.category != "countdown" and rng.random() < 0.15:
        given = Solution([], given.answer)
    lines = checked(task, given)
    right = correct(task, given) and (task.category != "countdown" or len(lines) > len(given.lines))
    verdict = right if rng.random() > 0.03 else not right
    reply = Solution(lines, "yes" if verdict else "no")
    variables = {**_known(task, rng, 1.0), "response": str(given)}
    return Demo(render(PROMPTS["verify"], variables), str(reply), verdict == right)


def miscounted(solution: Solution, rng: random.Random) -> Solution:
    """The solution with the value of one line off by one or ten."""
    at = rng.randrange(len(solution.lines))
    left, _, value = solution.lines[at].rpartition("=")
    line = f"{left}={int(value) + rng.choice((-10, -1, 1, 10))}"
    return Solution([*solution.lines[:at], line, *solution.lines[at + 1 :]], solution.answer)


def demo_revise(task: Task, rng: random.Random) -> Demo:
    """Try again after feedback, with far fewer slips; a right answer is kept."""
    best, first = gold(task), wrong(task, rng)
    variables = _known(task, rng, 0.5)
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
    choices = ["wrong", "wrong", "#### no", f"step {at + 1} wrong", best.lines[at], str(Solution(checked(task, solution), "no"))]
    return rng.choice(choices[:3] if task.category == "countdown" else choices)


def demo_rule(task: Task, rng: random.Random) -> Demo:
    """Apply what the context says: the operator's rule among others, or advice that makes one kind of slip rare."""
    others = [ops.stated(s, rng.choice(ops.RULES)) for s in ops.SYMBOLS if s != task.vars.get("symbol")]
    told: list[str] = []
    if task.category == "operators":
        lines = [task.vars["rule"], *rng.sample(others, rng.choice((0, 0, 1, 2, 3, 5)))]
    else:
        named = {"chain_sum": ("carry", "borrow"), "sorting": ("place",), "countdown": ()}[task.category]
        told = rng.sample(named, rng.randint(0, len(named)))
        lines = [ADVICE[name] for name in told] + rng.sample(others, rng.choice((0, 1, 2))) + [ADVICE[n] for n in _unfit(named, rng)]
    lines = lines or [others[0]]
    rng.shuffle(lines)
    solution = ATTEMPT[task.category](task, rng, Care(advice=frozenset(told)))
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


def _demo(prompt: str, variables: Mapping[str, object], solution: Solution, task: Task) -> Demo:
    return Demo(render(PROMPTS[prompt], variables), str(solution), correct(task, solution))


ROLES: dict[str, Callable[[Task, random.Random], Demo]] = {
    "solve": demo_solve,
    "hint": demo_hint,
    "peer": demo_peer,
    "verify": demo_verify,
    "revise": demo_revise,
    "rule": demo_rule,
    "propose": demo_propose,
}


@dataclass(frozen=True)
class Mix:
    """Shares of the roles, of the families, and of the families within the role `rule`."""

    roles: Mapping[str, float]
    families: Mapping[str, float]
    ruled: Mapping[str, float]


MIXES = {
    "first": Mix(
        {"solve": 0.34, "hint": 0.12, "peer": 0.10, "verify": 0.14, "revise": 0.12, "rule": 0.11, "propose": 0.07},
        {"chain_sum": 0.60, "countdown": 0.13, "sorting": 0.13, "operators": 0.14},
        {"chain_sum": 0.35, "countdown": 0.03, "sorting": 0.12, "operators": 0.50},
    ),
    "second": Mix(
        {"solve": 0.24, "hint": 0.08, "peer": 0.10, "verify": 0.22, "revise": 0.14, "rule": 0.17, "propose": 0.05},
        {"chain_sum": 0.57, "countdown": 0.14, "sorting": 0.12, "operators": 0.17},
        {"chain_sum": 0.26, "countdown": 0.02, "sorting": 0.10, "operators": 0.62},
    ),
}
"""What each part of the training draws from: arithmetic and formats come first, comparing and looking up (which come late) second."""


def draw(rng: random.Random, mix: Mix = MIXES["first"]) -> Demo:
    """One demonstration, its role and family drawn by their shares."""
    role = rng.choices(list(mix.roles), list(mix.roles.values()))[0]
    shares = mix.ruled if role == "rule" else mix.families
    task = FAMILIES[rng.choices(list(shares), list(shares.values()))[0]].draw(rng)
    return ROLES[role](task, rng)
