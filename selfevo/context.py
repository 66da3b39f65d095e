"""What a stage and its components may ask of the run while they work: seeds, numbers that vary, tables, versions, time."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from . import seeds
from .clock import Clock
from .errors import UserError, nearest
from .protocols import Number, Varying
from .records import Row, Task, Version

if TYPE_CHECKING:
    from .world import World


@dataclass
class StageCtx:
    """`protocols.RunCtx` for one execution of one stage.

    Every component is handed a view under its own key (`named`); metrics of all views go into one mapping, the stage's line.
    """

    world: World
    path: str
    stage: str
    iteration: int
    each: Mapping[str, Any] = field(default_factory=dict)
    using: Sequence[str] = ()
    bind: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    metrics: dict[str, float] = field(default_factory=dict)

    def named(self, name: str) -> StageCtx:
        """The same stage seen by the component under key `name`."""
        return replace(self, name=name)

    def bound(self, bind: Mapping[str, str]) -> StageCtx:
        """The same stage under other memory versions (a paired probe)."""
        return replace(self, bind={**self.bind, **bind})

    @property
    def where(self) -> str:
        """ "main.3/train": the path of this execution, as manifests and versions write it."""
        return f"{self.path}/{self.stage}"

    def seed(self, *key: object) -> int:
        """Hash of (run seed, path of blocks, stage, component, key), 63 bits."""
        return seeds.derive(self.world.seed, self.path, self.stage, self.name, *key)

    def rng(self, *key: object) -> random.Random:
        """A generator from `seed(*key)`."""
        return random.Random(self.seed(*key))

    def value(self, number: Number) -> float:
        """The present value of a constant, schedule, metric or `each` item; what varies is logged under "vary/<where it stands>"."""
        if not isinstance(number, Varying):
            return float(number)
        value = self._vary(number)
        self.metrics[f"vary/{number.name or self.name}"] = value
        return value

    def log(self, name: str, value: float) -> None:
        """Add a metric to this stage's line; a value that is not finite is left out, since JSON has no word for it."""
        if math.isfinite(value):
            self.metrics[name] = float(value)

    def history(self, metric: str) -> list[float]:
        """Committed values of a metric, oldest first."""
        return self.world.history.get(metric, [])

    def rows(self, table: str) -> list[Row]:
        """Rows of a table the stage declared under `using`."""
        if table not in self.using:
            raise UserError(f"{self.where}: reads table '{table}' without declaring it under `using`{nearest(table, self.using)}")
        return self.world.rows(table, self.path)

    def read(self, memory: str) -> Mapping[str, str]:
        """Files of a memory at the version bound for this stage (default: current)."""
        return self.world.read_memory(memory, self.bind.get(memory, "current"))

    @property
    def held_out(self) -> frozenset[str]:
        """Ids of the tasks that evaluations hold out."""
        return self.world.held_out

    def versions(self, name: str) -> list[Version]:
        """Every version of a policy or memory, oldest first."""
        return list(self.world.lineages.versions[name].values())

    def policy(self, ref: str) -> Any:
        """The `LivePolicy` behind a version reference."""
        return self.world.policy(ref, self.path)

    def open(self, role: str, task: Task, prompt: str | None = None, **variables: str) -> tuple[int, ...]:
        """Context ids of a role's prompt for a task."""
        return self.world.open(self, role, task, prompt, variables)

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        """Count what runs inside as generate, score, train or io."""
        with self.world.clock.span(kind):
            yield

    def progress(self, done: int, total: int, what: str) -> None:
        """Tell the view how far a long piece of work is."""
        self.world.progress(done, total, what)

    def _vary(self, number: Varying) -> float:
        if number.kind == "metric":
            values = self.history(number.metric)
            if values:
                return values[-1]
            if number.default is None:
                raise UserError(
                    f"{self.where}: metric '{number.metric}' has no value yet and the spec gives no default"
                    f"{nearest(number.metric, self.world.history)}"
                )
            return number.default
        if number.kind == "each":
            if number.name not in self.each:
                raise UserError(f"{self.where}: no enclosing `each` block is named '{number.name}'{nearest(number.name, self.each)}")
            return float(self.each[number.name])
        return schedule(number, self.iteration, self.world.iterations)


def schedule(number: Varying, iteration: int, iterations: int) -> float:
    """A linear or cosine schedule at `iteration`, over `over` iterations (default: the run's); held at its last point after them.

    `linear` passes through its points at equal distances; `cosine` eases between neighbouring points with (1 - cos(pi u)) / 2.
    """
    points = number.points
    over = (iterations if number.over is None else number.over) - 1
    at = 1.0 if over <= 0 else min(1.0, iteration / over)
    position = at * (len(points) - 1)
    low = min(int(position), len(points) - 2)
    u = position - low
    if number.kind == "cosine":
        u = (1 - math.cos(math.pi * u)) / 2
    return points[low] * (1 - u) + points[low + 1] * u


Progress = Callable[[int, int, str], None]
__all__ = ["Clock", "Progress", "StageCtx", "schedule"]
