"""Rows made by hand, and a context that opens prompts as bytes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import pytest

from selfevo import seeds
from selfevo.records import Row, Task, Trajectory, Turn


@dataclass
class Ctx:
    name: str = "train"
    path: str = "main.0/train"
    iteration: int = 0
    logged: dict[str, float] = field(default_factory=dict)
    opened: list[tuple] = field(default_factory=list)

    def rng(self, *key):
        return seeds.rng(0, self.path, *key)

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.logged[name] = value

    def open(self, role, task, prompt=None, **variables):
        self.opened.append((role, task.id, prompt, variables))
        return tuple(f"{role}:{prompt}:{task.vars['question']}:{variables.get('hint', '')}".encode())


def turn(source, *tokens, context=(), logprobs=True, temperature=1.0):
    drawn = tuple(-0.01 * t for t in tokens) if source == "policy" and logprobs else None
    return Turn(source, " ".join(map(str, tokens)), tuple(tokens), drawn, tuple(context), "solver@000001", temperature, "stop")


@pytest.fixture
def ctx():
    return Ctx()


@pytest.fixture
def make():
    """row(turns, score=..., group=..., ...): a row of a trajectory."""
    count = itertools.count()

    def row(*turns, score=1.0, group="g", question="q", keep=True, feedback=None, keys=(), **changes):
        k = next(count)
        turns = turns or (turn("policy", 10 + k, 20 + k, context=(1, 2)),)
        t = Trajectory(
            id=f"t{k}", task=Task({"question": question}, answer="4", category="sums"), role="solver", policy="solver@000001",
            turns=tuple(turns), episode=f"e{k}", keys={"group": group, **dict(keys)}, **changes,
        )  # fmt: skip
        made = Row.of(t)
        if score is not None:
            made = made.rewarded("score", score, keep=keep, feedback=feedback)
        return made

    row.turn = turn
    return row
