"""Metrics as curves: one series per metric and stage, over the updates so far."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from .read import Line


@dataclass(frozen=True)
class Point:
    """One committed value. `updates`: train stages committed by then; `path`: the block path of its stage."""

    updates: int
    value: float
    path: str


@dataclass(frozen=True)
class Series:
    """Values of one metric in one stage, in order of commit. `label` names it in a legend."""

    stage: str
    metric: str
    points: tuple[Point, ...]
    label: str = ""

    @property
    def first(self) -> float:
        """The first committed value."""
        return self.points[0].value

    @property
    def last(self) -> float:
        """The last committed value."""
        return self.points[-1].value

    @property
    def values(self) -> list[float]:
        """All values, oldest first."""
        return [p.value for p in self.points]

    @property
    def constant(self) -> bool:
        """Whether it never changed (or was logged once)."""
        return all(p.value == self.first for p in self.points)

    def named(self, label: str) -> Series:
        """The same series under another label."""
        return replace(self, label=label)


class Metrics:
    """Every series of a run, by metric and stage, in order of first appearance."""

    def __init__(self, lines: Iterable[Line]):
        points: dict[tuple[str, str], list[Point]] = {}
        for line in lines:
            for metric, value in line.metrics.items():
                points.setdefault((metric, line.stage), []).append(Point(line.updates, value, line.path))
        self.all = [Series(stage, metric, tuple(p), metric) for (metric, stage), p in points.items()]
        self._stages = _stages_by_metric(self.all)

    def named(self, metric: str) -> list[Series]:
        """The series of one metric: one per stage that logs it, labelled by the stage where there are several."""
        return self.matching(re.escape(metric))

    def matching(self, pattern: str) -> list[Series]:
        """Series whose whole metric name matches; labelled by the pattern's first group (else the name), and by stage if need be."""
        out = []
        for series in self.all:
            match = re.fullmatch(pattern, series.metric)
            if match:
                label = match[1] if match.re.groups else series.metric
                several = len(self._stages[series.metric]) > 1
                out.append(series.named(f"{label} ({series.stage})" if several else label))
        return out

    def of(self, metric: str, stage: str) -> Series | None:
        """The series of a metric in a stage, or None."""
        return next((s for s in self.all if s.metric == metric and s.stage == stage), None)


def _stages_by_metric(series: Sequence[Series]) -> Mapping[str, set[str]]:
    out: dict[str, set[str]] = {}
    for s in series:
        out.setdefault(s.metric, set()).add(s.stage)
    return out


def places(series: Sequence[Series]) -> tuple[list[list[int]], str]:
    """The x of every point of every series, and what x is.

    x is the number of updates so far. Where a stage ran twice between two updates that would put two values on one x: then x counts
    the stage's executions, from 0.
    """
    xs = [[p.updates for p in s.points] for s in series]
    if all(a < b for x in xs for a, b in pairwise(x)):
        return xs, "updates so far"
    return [list(range(len(s.points))) for s in series], "executions of the stage before"


def natural(text: str) -> list[tuple[int, float, str]]:
    """Sort key in which level=9 comes before level=10."""
    return [(0, float(part), "") if re.fullmatch(r"\d+(\.\d+)?", part) else (1, 0.0, part) for part in re.split(r"(\d+(?:\.\d+)?)", text)]
