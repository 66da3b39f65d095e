"""A real stage context over an empty world, and rows with outcomes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

import pytest

from selfevo.context import StageCtx
from selfevo.records import Row, Task, Trajectory
from selfevo.tasks.dataset import Dataset
from selfevo.world import World


@pytest.fixture
def ctx_at(tmp_path) -> Callable[..., StageCtx]:
    """A context at an iteration, under a name; its metrics are `ctx.metrics`."""
    world = World(0, 10, {}, {}, tmp_path)
    return lambda iteration=0, name="curriculum": StageCtx(world, f"main.{iteration}", "rollout", iteration, name=name)


@pytest.fixture
def rows_of() -> Callable[..., list[Row]]:
    """Scored rows of tasks: `solved` says which; None leaves the reward out, as an error does."""

    def made(tasks: Iterable[Task], solved: Iterable[float | bool | None]) -> list[Row]:
        rows = []
        for i, (task, value) in enumerate(zip(tasks, solved, strict=True)):
            row = Row.of(Trajectory(f"t{i}", task, "solver", "solver@000000", (), f"e{i}"))
            rows.append(row.failed("score", "error", "broken") if value is None else row.rewarded("score", float(value)))
        return rows

    return made


@pytest.fixture
def source(tmp_path) -> Callable[..., Dataset]:
    """A finite source of `n` tasks over the given levels."""

    def made(n: int = 60, levels: tuple[int, ...] = (1, 2, 3), name: str = "d") -> Dataset:
        path = tmp_path / f"{name}.jsonl"
        rows = [{"question": f"{name}{i}", "level": levels[i % len(levels)]} for i in range(n)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return Dataset(str(path), fields={"question": "question", "difficulty": "level"}, name=name)

    return made
