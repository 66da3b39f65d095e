"""Learning curves of arms: means over their runs with the range of these, over updates, generated tokens and seconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from .comparison import Comparison, Speed
from .speed import Point

Axis = Literal["updates", "evaluations", "tokens", "seconds"]
GRID = 81
"""Places at which the curves of an arm with several runs are read where their runs were evaluated at different costs."""


@dataclass(frozen=True)
class ArmCurve:
    """(x, mean) and, of several runs, (x, lowest, highest); `used` are the runs behind it."""

    arm: int
    points: tuple[tuple[float, float], ...]
    band: tuple[tuple[float, float, float], ...]
    used: tuple[int, ...]


def axes(speed: Speed) -> list[Axis]:
    """What the curves can be drawn over. Where evaluations come without updates between them, their count takes the place of updates."""
    xs = [[p.updates for p in c] for c in speed.curves if len(c) > 1]
    first: Axis = "updates" if all(a < b for x in xs for a, b in pairwise(x)) else "evaluations"
    return [first, "tokens", "seconds"]


def arm_curves(c: Comparison, speed: Speed, axis: Axis) -> list[ArmCurve]:
    """A curve per arm that has one. An arm's curve ends with its shortest finished run; runs that broke off count only where none is."""
    out = []
    for number, arm in enumerate(c.arms):
        known = [r for r in arm.runs if len(speed.curves[r]) > 1]
        used = [r for r in known if c.runs[r].status == "done"] or known
        curves = [_xy(speed.curves[r], axis) for r in used]
        if not curves:
            continue
        if len(curves) == 1:
            out.append(ArmCurve(number, tuple(curves[0]), (), tuple(used)))
            continue
        xs = _places(curves, counted=axis in ("updates", "evaluations"))
        values = [[at(curve, x) for curve in curves] for x in xs]
        points = tuple((x, fmean(v)) for x, v in zip(xs, values, strict=True))
        out.append(ArmCurve(number, points, tuple((x, min(v), max(v)) for x, v in zip(xs, values, strict=True)), tuple(used)))
    return out


def at(curve: Sequence[tuple[float, float]], x: float) -> float:
    """A curve's value at an x within it, linear between the points around it."""
    before, after = curve[0], curve[-1]
    for left, right in pairwise(curve):
        if left[0] <= x <= right[0]:
            before, after = left, right
            break
    if before[0] == after[0]:
        return after[1]
    return before[1] + (after[1] - before[1]) * (x - before[0]) / (after[0] - before[0])


def _xy(points: Sequence[Point], axis: Axis) -> list[tuple[float, float]]:
    if axis == "evaluations":
        return [(float(i), p.value) for i, p in enumerate(points)]
    return [(float(getattr(p, axis)), p.value) for p in points]


def _places(curves: Sequence[Sequence[tuple[float, float]]], counted: bool) -> list[float]:
    """Where all curves are: the x that they share if these are counts, else GRID even ones."""
    shared = sorted(set.intersection(*({x for x, _ in c} for c in curves)))
    if counted and len(shared) > 1:
        return shared
    low, high = max(c[0][0] for c in curves), min(c[-1][0] for c in curves)
    return [low + (high - low) * i / (GRID - 1) for i in range(GRID)] if high > low else [low]
