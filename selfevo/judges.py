"""Row parts of verifiers on Ray workers: rows are judged in blocks, elsewhere, as they would be here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .context import StageCtx
from .crew import Crew, Member
from .errors import SelfevoError
from .protocols import Part, RunCtx
from .records import Row, Score
from .surroundings import Surroundings, Where
from .verifiers.run import applied

BLOCKS = 4
"""Blocks per worker: rows may differ in what judging them takes."""


class NeedsTheRun(SelfevoError):
    """A part asks for what only the main rank has."""


@dataclass(frozen=True)
class FarWorld:
    """What a part on a worker may know of the run."""

    seed: int
    iterations: int
    history: Mapping[str, list[float]]


class FarCtx(StageCtx):
    """`protocols.RunCtx` on a worker: seeds and numbers, but no tables, memories, policies and no metrics of a part's own, which would
    be those of a block."""

    def log(self, name: str, value: float) -> None:
        """Not here."""
        raise NeedsTheRun(name)

    def history(self, metric: str) -> list[float]:
        """Not here; numbers that follow a metric know its last value."""
        raise NeedsTheRun(metric)

    def rows(self, table: str) -> list[Row]:
        """Not here."""
        raise NeedsTheRun(table)

    def read(self, memory: str) -> Mapping[str, str]:
        """Not here."""
        raise NeedsTheRun(memory)

    def policy(self, ref: str) -> Any:
        """Not here."""
        raise NeedsTheRun(ref)

    def open(self, role: str, task: Any, prompt: str | None = None, **variables: str) -> tuple[int, ...]:
        """Not here."""
        raise NeedsTheRun(role)

    def _vary(self, number: Any) -> float:
        values = self.world.history.get(number.metric)
        return values[-1] if number.kind == "metric" and values else super()._vary(number)


Judged = tuple[list[Score | Row], dict[str, float]]
"""A block's scores in order (a whole row where a part changed more than its score), and metrics."""


class Judge:
    """The actor: the verifiers of the spec, each made when first used."""

    def __init__(self, stages: Mapping[str, Any]):
        """`stages`: nodes of the spec."""
        self._nodes = stages
        self._parts: dict[str, Mapping[str, Part]] = {}

    def hello(self, surroundings: Surroundings) -> Where:
        """Begin."""
        surroundings.enter()
        return Where.here()

    def apply(self, stage: str, name: str, rows: list[Row], ctx: FarCtx) -> Judged | SelfevoError:
        """A block judged by one part of a stage's verifier. An error of selfevo itself is returned, not raised."""
        if stage not in self._parts:
            from .spec import build

            made = build(self._nodes[stage])
            self._parts[stage] = made.verifier if hasattr(made, "verifier") else made.suite.verifier
        try:
            out = applied(self._parts[stage][name], name, rows, ctx)
        except SelfevoError as error:
            return error
        same = [new.trajectory is old.trajectory for new, old in zip(out, rows, strict=True)]
        return [new.score if kept else new for new, kept in zip(out, same, strict=True)], ctx.metrics


class Judges:
    """The main rank's side: has row parts applied by a crew of `Judge`s; parts of another scope, and those that need the run, here."""

    def __init__(self, crew: Crew):
        self._crew = crew
        self._here: set[tuple[str, str]] = set()

    def apply(self, stage: str, part: Part, name: str, rows: list[Row], ctx: RunCtx) -> list[Row]:
        """What `verifiers.run.applied` gives, in the same order."""
        assert isinstance(ctx, StageCtx)
        if part.scope != "row" or (stage, name) in self._here:
            return applied(part, name, rows, ctx)
        count = min(len(rows), BLOCKS * self._crew.size)
        parts = [rows[len(rows) * i // count : len(rows) * (i + 1) // count] for i in range(count)]
        far = far_from(ctx)

        def job(block: list[Row]) -> Callable[[Member], Any]:
            return lambda member: member.actor.apply.remote(stage, name, block, far)

        said = self._crew.do([job(block) for block in parts])
        for key, value in self._crew.spent().items():
            ctx.log(f"score/{key}", value)
        if any(isinstance(one, NeedsTheRun) for one in said):
            self._here.add((stage, name))
            return applied(part, name, rows, ctx)
        judged: list[Score | Row] = []
        for one in said:
            if isinstance(one, SelfevoError):
                raise one
            judged += one[0]
            ctx.metrics.update(one[1])
        return [new if isinstance(new, Row) else replace(row, score=new) for row, new in zip(rows, judged, strict=True)]


def far_from(ctx: StageCtx) -> FarCtx:
    """What of a context can go to a worker."""
    latest = {metric: values[-1:] for metric, values in ctx.world.history.items()}
    world: Any = FarWorld(ctx.world.seed, ctx.world.iterations, latest)
    return FarCtx(world, ctx.path, ctx.stage, ctx.iteration, dict(ctx.each), (), dict(ctx.bind), ctx.name)

