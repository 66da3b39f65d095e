"""A real stage context over an empty world, and the rows of a paired probe."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from selfevo.context import StageCtx
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.world import World


@pytest.fixture
def ctx(tmp_path) -> StageCtx:
    return StageCtx(World(0, 10, {}, {}, tmp_path), "main.0", "accept", 0, name="gate")


@pytest.fixture
def probe() -> Callable[..., list[Row]]:
    """Rows of {version: rewards by task}, in the order a rollout makes them: per task, the versions in turn. None: an error."""

    def made(rewards: Mapping[str, list[float | None]], memory: str = "skills") -> list[Row]:
        rows = []
        for i in range(len(next(iter(rewards.values())))):
            task = Task({"question": f"q{i}"}, "0")
            for version, values in rewards.items():
                t = Trajectory(f"{version}/{i}", task, "agent", "agent@000000", (), f"e{i}", {"sample": "0"}, {memory: version})
                value = values[i]
                rows.append(Row.of(t).failed("score", "error", "broken") if value is None else Row.of(t).rewarded("score", value))
        return rows

    return made


@pytest.fixture
def said() -> Callable[..., Row]:
    """A row whose policy wrote `text`, with a reward."""

    def made(text: str, reward: float | None = None, n: int = 0, **changes: object) -> Row:
        t = Trajectory(f"t{n}", Task({"question": f"q{n}"}), "author", "author@000000", (Turn("policy", text),), f"e{n}", **changes)
        return Row.of(t) if reward is None else Row.of(t).rewarded("score", reward)

    return made
