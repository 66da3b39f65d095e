"""A run context for parts: constants only, seeds by hashing."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from selfevo import seeds
from selfevo.records import Row, Task, Trajectory, Turn


@dataclass
class Ctx:
    name: str = "part"
    iteration: int = 0
    path: str = "main.0/score"
    logged: dict[str, float] = field(default_factory=dict)

    def seed(self, *key: object) -> int:
        return seeds.derive(0, self.path, *key)

    def rng(self, *key: object):
        return seeds.rng(0, self.path, *key)

    def value(self, number: float) -> float:
        return float(number)

    def log(self, name: str, value: float) -> None:
        self.logged[name] = value


@pytest.fixture
def ctx():
    return Ctx


@pytest.fixture
def make_row():
    """Builds a row: reply text, reference answer, task variables, number of tokens, status, group."""
    made = iter(range(10**9))

    def build(text="", answer="", tokens=0, status="finished", group="g", error=None, **variables):
        turn = Turn("policy", text, tokens=(7,) * tokens, logprobs=(-0.5,) * tokens)
        task = Task({"question": "?", **variables}, answer=answer)
        keys = {"group": group}
        return Row.of(Trajectory(f"t{next(made)}", task, "solver", "solver@0", (turn,), "e", keys=keys, status=status, error=error))

    return build
