"""How fast runs learned: the held-out metric at equal cost, cost being generated tokens or seconds of everything but evaluation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..report.read import Line, RunData
from ..report.summary import times, tokens


@dataclass(frozen=True)
class Point:
    """A value of a metric, and what the run had spent by then, evaluations left out. `updates`: train stages by then."""

    tokens: float
    seconds: float
    value: float
    updates: int = 0


@dataclass(frozen=True)
class AtCost:
    """A run at a budget: `value` is its last value measured by then (None: it never spent as much), `mean` the mean of its curve up to
    there, each value holding until the next one."""

    value: float | None
    mean: float | None


@dataclass(frozen=True)
class Spent:
    """What a run took in all, evaluations included: seconds by kind of work, tokens sampled, fitted and thrown away, updates made."""

    seconds: float
    generate: float
    score: float
    train: float
    generated: float
    trained: float
    discarded: float
    updates: int

    @property
    def rate(self) -> float | None:
        """Generated tokens per second of generation."""
        return self.generated / self.generate if self.generate > 0 and self.generated else None


def curve(run: RunData, metric: str) -> list[Point]:
    """Every committed value of a metric, in order. What a stage that is no evaluation spent counts towards what it logged."""
    out, spent, seconds = [], 0.0, 0.0
    for line in run.lines:
        if line.kind != "evaluate":
            spent += generated(line)
            seconds += line.seconds
        if metric in line.metrics:
            out.append(Point(spent, seconds, line.metrics[metric], line.updates))
    return out


def budget(curves: Sequence[Sequence[Point]], axis: str) -> float:
    """The most that every curve with more than one point reaches; 0 when there is none."""
    return min((getattr(c[-1], axis) for c in curves if len(c) > 1), default=0.0)


def at_cost(points: Sequence[Point], limit: float, axis: str) -> AtCost:
    """A curve at a budget, by "tokens" or "seconds"."""
    costs = [float(getattr(p, axis)) for p in points]
    if not points or limit <= 0 or costs[-1] < limit:
        return AtCost(None, None)
    value, area, since = points[0].value, 0.0, 0.0
    for point, cost in zip(points, costs, strict=True):
        if cost > limit:
            break
        area += value * (cost - since)
        value, since = point.value, cost
    return AtCost(value, (area + value * (limit - since)) / limit)


def first_at(points: Sequence[Point], level: float, axis: str) -> float | None:
    """The cost at which a curve was first measured at `level` or above; None where it never was."""
    return next((float(getattr(p, axis)) for p in points if p.value >= level), None)


def levels(curves: Sequence[Sequence[Point]], most: int = 4) -> list[float]:
    """Two to `most` round values between where the curves begin and the best that one of them reached (fewer where there is no room)."""
    curves = [c for c in curves if len(c) > 1]
    if not curves:
        return []
    low, high = min(c[0].value for c in curves), max(p.value for c in curves for p in c)
    out: list[float] = []
    for step in (0.5, 0.25, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001):
        found = [round(i * step, 6) for i in range(math.floor(low / step) + 1, math.floor(high / step + 1e-9) + 1)]
        if len(found) > most:
            return out or found[:: -(-len(found) // most)]
        out = found
        if len(out) >= 3:
            break
    return out


def spent(run: RunData) -> Spent:
    """The cost of a run so far."""
    total, _ = times(run.lines)
    sums = next(iter(tokens(run.lines)[-1:]), None)
    kinds = total.by_kind
    return Spent(
        seconds=total.seconds, generate=kinds["generate"], score=kinds["score"], train=kinds["train"],
        generated=sums.generated if sums else 0.0, trained=sums.trained if sums else 0.0, discarded=sums.discarded if sums else 0.0,
        updates=run.lines[-1].updates if run.lines else 0,
    )  # fmt: skip


def generated(line: Line) -> float:
    """Tokens a stage sampled, those it threw away included."""
    return sum(value for name, value in line.metrics.items() if name.endswith(("/generated_tokens", "/discarded_tokens")))
