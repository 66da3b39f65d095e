"""The report of a sweep: its runs ranked, what each swept key did, and parallel coordinates. Made from the directories of its runs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..comparing.find import Found, find
from ..comparing.settings import differences
from .numbers import short
from .parallel import LOG, Line, Parallel, axis, numeric
from .rows import Dot, Levels, Scatter
from .series import Metrics, natural

SHOWN = 300
"""Runs of the parallel coordinates: the best, the worst and an even choice between."""
VALUES = 16
"""Most values of one key that are shown each on its own; of more numbers quarters are made."""
AXES = 8
"""Most keys of the parallel coordinates."""
PAGE = "report.html"


@dataclass(frozen=True)
class Ranked:
    """One run: its value of the sweep's metric with the interval that was logged (None where there is none), and its settings. `link`:
    its own page as seen from the sweep's folder, empty where there is none. `counts`: it has a place, and a part in the effects; where
    some run is done, only those that are done do."""

    label: str
    status: str
    error: str
    value: float | None
    low: float | None
    high: float | None
    settings: tuple[str, ...]
    link: str = ""
    counts: bool = True


@dataclass(frozen=True)
class Level:
    """The runs that share one value of a key: the metric of each, and its mean, lowest and highest value over them."""

    value: str
    values: tuple[float, ...]

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return math.fsum(self.values) / len(self.values)

    @property
    def low(self) -> float:
        """The lowest."""
        return min(self.values)

    @property
    def high(self) -> float:
        """The highest."""
        return max(self.values)


@dataclass(frozen=True)
class Effect:
    """One swept key. `points` (setting, metric) where the key has more numbers than are shown each on its own: then levels are quarters."""

    key: str
    levels: tuple[Level, ...]
    points: tuple[tuple[float, float], ...] = ()

    @property
    def span(self) -> float:
        """Largest minus smallest mean of its levels."""
        return max(v.mean for v in self.levels) - min(v.mean for v in self.levels)


@dataclass(frozen=True)
class Sweep:
    """Runs with the best value first, those that do not count last; `keys` name their `settings`.

    `metric` is None where no run has logged an evaluation; `lowest`: the lowest value is the best. `effects`: the greatest first. `words`
    tell what is not shown.
    """

    name: str
    metric: str | None
    lowest: bool
    keys: tuple[str, ...]
    runs: tuple[Ranked, ...]
    effects: tuple[Effect, ...]
    picture: Parallel | None
    words: tuple[str, ...] = field(default=())

    @property
    def ranked(self) -> list[Ranked]:
        """The runs that count, the best first."""
        return [r for r in self.runs if r.counts]

    @property
    def drawn(self) -> list[Levels | Scatter]:
        """A drawing of every effect, all over the same values of the metric."""
        values = [r.value for r in self.ranked if r.value is not None]
        limits = (min(values), max(values)) if values else (0.0, 1.0)
        return [_drawn(e, str(self.metric), limits) for e in self.effects]


def read(root: Path) -> Sweep:
    """Read every run below a folder. Raises UserError where there is none."""
    found = find([root])
    metric, lowest = _metric(found), _lowest(root)
    swept = differences(found)
    columns = list(swept.values())
    runs = [_ranked(root, f, metric, tuple(column[i] for column in columns)) for i, f in enumerate(found)]
    finished = any(r.value is not None and r.status == "done" for r in runs)
    runs = [replace(r, counts=r.value is not None and (r.status == "done" or not finished)) for r in runs]
    sign = 1 if lowest else -1
    runs.sort(key=lambda r: (not r.counts, r.value is None, sign * (r.value or 0.0), natural(r.label)))
    have = [r for r in runs if r.counts]
    effects = [e for i, key in enumerate(swept) if (e := effect(key, i, have)) is not None]
    effects.sort(key=lambda e: -e.span)
    picture = parallel(str(metric), [e.key for e in effects], tuple(swept), have)
    silent = [key for i, key in enumerate(swept)
              if have and key not in {e.key for e in effects} and len({r.settings[i] for r in have}) > VALUES]  # fmt: skip
    words = [f"{key}: of so many different words no effect is shown" for key in silent]
    return Sweep(root.resolve().name, metric, lowest, tuple(swept), tuple(runs), tuple(effects), picture, tuple(words))


def effect(key: str, at: int, runs: Sequence[Ranked]) -> Effect | None:
    """What a key did, over everything else that varied; None for fewer than two values with results, or more than VALUES words."""
    groups: dict[str, list[float]] = {}
    for run in runs:
        if run.value is not None:
            groups.setdefault(run.settings[at], []).append(run.value)
    if len(groups) < 2:
        return None
    if len(groups) <= VALUES:
        return Effect(key, tuple(Level(v, tuple(x)) for v, x in sorted(groups.items(), key=lambda g: natural(g[0]))))
    numbers = numeric(list(groups))
    if numbers is None:
        return None
    points = sorted((x, y) for x, values in zip(numbers, groups.values(), strict=True) for y in values)
    quarters = [points[len(points) * q // 4 : len(points) * (q + 1) // 4] for q in range(4)]
    levels = tuple(Level(f"{q[0][0]:.3g} to {q[-1][0]:.3g}", tuple(y for _, y in q)) for q in quarters)
    return Effect(key, levels, tuple(points))


def parallel(metric: str, telling: Sequence[str], keys: Sequence[str], runs: Sequence[Ranked]) -> Parallel | None:
    """Parallel coordinates of runs, over the keys that had an effect (`telling`, the greatest first); None for
    fewer than three runs or two keys."""
    have = [r for r in runs if r.value is not None]
    chosen = [i for i, key in enumerate(keys) if key in telling[:AXES]]
    if len(have) < 3 or len(chosen) < 2:
        return None
    notes = ["a line is a run, stronger the better it is; the best in the second colour"]
    if len(telling) > AXES:
        notes.append(f"the {AXES} of {len(telling)} keys with the greatest effect")
    made = [axis(keys[i], [r.settings[i] for r in have]) for i in chosen]
    if len(have) > SHOWN:
        notes.append(f"{SHOWN} of {len(have)} runs")
        have = [have[round(i * (len(have) - 1) / (SHOWN - 1))] for i in range(SHOWN)]
    lines = []
    for r in have:
        texts = tuple(r.settings[i] for i in chosen)
        lines.append(Line(texts, tuple(place[text] for text, (_, place) in zip(texts, made, strict=True)), r.value or 0.0))
    return Parallel(f"settings and {metric}", "; ".join(notes), tuple(a for a, _ in made), metric, tuple(lines))


def _drawn(e: Effect, metric: str, limits: tuple[float, float]) -> Levels | Scatter:
    note = f"means {'of quarters ' if e.points else ''}{e.span:.3g} apart"
    if e.points:
        low, high = e.points[0][0], e.points[-1][0]
        return Scatter(e.key, note, e.points, e.key, metric, low > 0 and high / low >= LOG, limits)
    rows = tuple(Dot(short(v.value), v.mean, v.low, v.high, v.values) for v in e.levels)
    return Levels(e.key, note, rows, metric, None, False, limits, False)


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


def _lowest(root: Path) -> bool:
    """Whether the sweeper looked for the lowest value, as Hydra's record of the sweep tells."""
    import yaml

    try:
        sweeper = yaml.safe_load((root / "multirun.yaml").read_text())["hydra"]["sweeper"]
        return sweeper.get("direction") == "minimize"
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, AttributeError):
        return False


def _ranked(root: Path, found: Found, metric: str | None, settings: tuple[str, ...]) -> Ranked:
    value: float | None = None
    low: float | None = None
    high: float | None = None
    if found.run is not None and metric is not None:
        metrics = Metrics(found.run.lines)
        last = max(metrics.named(metric), key=lambda s: s.points[-1].updates, default=None)
        if last is not None and math.isfinite(last.last):
            value = last.last
            low, high = (o.last if o is not None else None for o in (metrics.of(f"{metric}/{end}", last.stage) for end in ("low", "high")))
    page, here = found.root.resolve() / PAGE, root.resolve()
    link = quote(page.relative_to(here).as_posix()) if page.is_file() and page.is_relative_to(here) and page.parent != here else ""
    return Ranked(found.label, found.status, found.error, value, low, high, settings, link)
