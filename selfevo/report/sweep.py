"""The report of a sweep: its runs ranked, what each swept key did, and parallel coordinates. Made from the directories of its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..comparing.find import Found, find
from ..comparing.settings import differences
from ..errors import UserError
from .figures import Parallel
from .series import Metrics, natural

SHOWN = 300
"""Runs of the parallel coordinates: the best, the worst and an even choice between."""
VALUES = 16
"""Most values of one key that get an axis and a table."""


@dataclass(frozen=True)
class Ranked:
    """One run: its value of the sweep's metric with the interval that was logged (None where there is none), and its settings."""

    label: str
    status: str
    error: str
    value: float | None
    low: float | None
    high: float | None
    settings: tuple[str, ...]


@dataclass(frozen=True)
class Level:
    """The runs that share one value of a key: how many have the metric, and its mean, lowest and highest value over them."""

    value: str
    runs: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Effect:
    """One swept key; `span` is the largest mean of its levels minus the smallest."""

    key: str
    levels: tuple[Level, ...]

    @property
    def span(self) -> float:
        """Largest minus smallest mean."""
        return max(v.mean for v in self.levels) - min(v.mean for v in self.levels)


@dataclass(frozen=True)
class Sweep:
    """Runs with the highest value first, those without one last. `keys` name their `settings`."""

    name: str
    metric: str
    keys: tuple[str, ...]
    runs: tuple[Ranked, ...]
    effects: tuple[Effect, ...]
    picture: Parallel | None


def read(root: Path) -> Sweep:
    """Read every run below a folder. Raises UserError where there is none, or none that logged the metric."""
    found = find([root])
    metric = _metric(found)
    if metric is None:
        raise UserError(f"{root}: none of its {len(found)} runs has logged an evaluation yet, nor does a spec name a `metric`")
    swept = differences(found)
    columns = list(swept.values())
    runs = [_ranked(f, metric, tuple(column[i] for column in columns)) for i, f in enumerate(found)]
    runs.sort(key=lambda r: (r.value is None, -(r.value or 0.0), natural(r.label)))
    effects = [e for i, key in enumerate(swept) if (e := effect(key, i, runs)) is not None]
    effects.sort(key=lambda e: -e.span)
    return Sweep(root.resolve().name, metric, tuple(swept), tuple(runs), tuple(effects), parallel(metric, tuple(swept), runs))


def effect(key: str, at: int, runs: Sequence[Ranked]) -> Effect | None:
    """What a key did, over everything else that varied; None for fewer than two values with results, or more than VALUES."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        if run.value is not None:
            groups.setdefault(run.settings[at], []).append(run.value)
    if not 2 <= len(groups) <= VALUES:
        return None
    levels = [Level(v, len(x), math.fsum(x) / len(x), min(x), max(x)) for v, x in sorted(groups.items(), key=lambda g: natural(g[0]))]
    return Effect(key, tuple(levels))


def parallel(metric: str, keys: Sequence[str], runs: Sequence[Ranked]) -> Parallel | None:
    """Parallel coordinates of the runs that have a value; None for fewer than three of them or fewer than two keys to show."""
    have = [r for r in runs if r.value is not None]
    levels = [sorted({r.settings[i] for r in have}, key=natural) for i in range(len(keys))]
    shown = [i for i, values in enumerate(levels) if 2 <= len(values) <= VALUES]
    if len(have) < 3 or len(shown) < 2:
        return None
    if len(have) > SHOWN:
        have = [have[round(i * (len(have) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    axes = tuple((keys[i], tuple(levels[i])) for i in shown)
    lines = tuple((tuple(levels[i].index(r.settings[i]) for i in shown), r.value or 0.0) for r in have)
    return Parallel(f"settings and {metric}", axes, metric, lines)


def _metric(runs: Sequence[Found]) -> str | None:
    """The metric that the specs name, else pass@1 of the first suite that a run evaluated."""
    for found in runs:
        named: Any = found.run.spec.get("metric") if found.run is not None and isinstance(found.run.spec, Mapping) else None
        if named:
            return str(named)
    for found in runs:
        for series in Metrics(found.run.lines).all if found.run is not None else ():
            if series.metric.startswith("eval/") and series.metric.endswith("/pass@1"):
                return series.metric
    return None


def _ranked(found: Found, metric: str, settings: tuple[str, ...]) -> Ranked:
    value: float | None = None
    low: float | None = None
    high: float | None = None
    if found.run is not None:
        metrics = Metrics(found.run.lines)
        last = max(metrics.named(metric), key=lambda s: s.points[-1].updates, default=None)
        if last is not None:
            value = last.last
            low, high = (o.last if o is not None else None for o in (metrics.of(f"{metric}/{end}", last.stage) for end in ("low", "high")))
    return Ranked(found.label, found.status, found.error, value, low, high, settings)
