"""Samples and rows with given rewards."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from selfevo.records import Row, Sample, Task, Trajectory, Turn


@dataclass
class Ctx:
    name: str = "outcome"
    path: str = "main.0/train"
    iteration: int = 0

    def value(self, number):
        return float(number)

    def log(self, name, value):
        raise AssertionError("advantages log nothing")


@pytest.fixture
def ctx():
    return Ctx()


@pytest.fixture
def make():
    """make({group: [rewards]}): (samples, rows), one sample per row, groups one after the other; a reward of None is left out."""

    def build(groups, role="solver", columns=(), **named):
        rows, samples = [], []
        for group, rewards in groups.items():
            for reward in rewards:
                i = len(rows)
                t = Trajectory(f"t{i}", Task({"q": group}), role, "p@0", (Turn("policy", "x", (1,)),), "e", keys={"group": group})
                rows.append(Row.of(t) if reward is None else Row.of(t).rewarded("score", reward))
                samples.append(Sample(f"t{i}", (1,), {"train": (0,)}, dict(columns), row=i))
        return samples, rows

    return build
