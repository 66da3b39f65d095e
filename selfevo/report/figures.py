"""The data of a chart: curves thinned to what can be seen, limits of axes, the words for a reader who does not see it. `vega` draws it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .numbers import number
from .series import Series, places

WINDOWS = 50
"""A curve with more than twice as many points is drawn pale, with the means of so many windows on top."""
DETAIL = 400
"""A curve with more points than this keeps the extremes of each of DETAIL / 2 buckets."""
LISTED = 60
"""Rows of the table under a chart."""

XY = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """One drawn series: its points, the means of its windows (empty where it is short) and the interval around it as (x, low, high)."""

    label: str
    points: tuple[XY, ...]
    mean: tuple[XY, ...] = ()
    band: tuple[tuple[float, float, float], ...] = ()

    @property
    def first(self) -> float:
        """The first value."""
        return self.points[0][1]

    @property
    def last(self) -> float:
        """The last value."""
        return self.points[-1][1]


@dataclass(frozen=True)
class Chart:
    """Curves over one x axis. `y` are the limits of the other axis; `counted`: x are whole numbers, such as updates."""

    title: str
    note: str
    curves: tuple[Curve, ...]
    x_label: str
    y: tuple[float, float]
    counted: bool = True

    kind, wide = "lines", False

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        ends = "; ".join(f"{c.label}: from {number(c.first)} to {number(c.last)}" for c in self.curves)
        return f"Line chart of {self.title} over {self.x_label}. {ends}."

    @property
    def table(self) -> tuple[list[str], list[list[float | None]]]:
        """Header and rows of the numbers: x, then one value per curve."""
        values = [dict(c.points) for c in self.curves]
        xs = sorted({x for v in values for x in v})
        if len(xs) > LISTED:
            xs = [xs[round(i * (len(xs) - 1) / (LISTED - 1))] for i in range(LISTED)]
        return [self.x_label, *(c.label for c in self.curves)], [[x, *(v.get(x) for v in values)] for x in xs]


@dataclass(frozen=True)
class Heat:
    """Shares by row and column: `values[r][c]` in [0, 1], each column sums to 1 (or is empty, then it is all None)."""

    title: str
    note: str
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]
    x_label: str

    kind, wide = "heat", True

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        ends = "; ".join(f"{r}: from {_share(v, 0)} to {_share(v, -1)}" for r, v in zip(self.rows, self.values, strict=True))
        return f"Heat map of {self.title} over {self.x_label}. {ends}."

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers."""
        return ["", *self.columns], [[r, *v] for r, v in zip(self.rows, self.values, strict=True)]


def chart(title: str, series: Sequence[Series], note: str = "", band: tuple[Series, Series] | None = None) -> Chart:
    """A chart of series over updates; `band` holds the lower and upper ends of an interval around the first of them."""
    xs, x_label = places(series)
    curves = []
    for i, (s, x) in enumerate(zip(series, xs, strict=True)):
        points = list(zip(x, s.values, strict=True))
        mean = means(points) if len(points) > 2 * WINDOWS else []
        around = tuple(zip(x, band[0].values, band[1].values, strict=True)) if band is not None and i == 0 else ()
        curves.append(Curve(s.label, tuple(thinned(points)), tuple(mean), around))
    return drawn(title, curves, x_label, note)


def drawn(title: str, curves: Sequence[Curve], x_label: str, note: str = "", counted: bool = True) -> Chart:
    """A chart of curves, its axis fitted to them."""
    if any(c.mean for c in curves):
        note = "; ".join(filter(None, (note, f"strong: means of {WINDOWS} windows")))
    ends = [v for c in curves for _, low, high in c.band for v in (low, high)]
    return Chart(title, note, tuple(curves), x_label, limits([*(y for c in curves for _, y in c.points), *ends]), counted)


def thinned(points: Sequence[XY], limit: int = DETAIL) -> list[XY]:
    """At most `limit` points (ends included): the lowest and highest of equal buckets, so that no spike is lost."""
    if len(points) <= limit:
        return list(points)
    buckets = limit // 2 - 1
    out = [points[0]]
    for b in range(buckets):
        bucket = points[len(points) * b // buckets : len(points) * (b + 1) // buckets]
        out += sorted({min(bucket, key=lambda p: p[1]), max(bucket, key=lambda p: p[1])})
    return [*out, points[-1]]


def means(points: Sequence[XY], windows: int = WINDOWS) -> list[XY]:
    """Mean x and mean value of `windows` equal runs of points."""
    out = []
    for w in range(windows):
        run = points[len(points) * w // windows : len(points) * (w + 1) // windows]
        out.append((sum(x for x, _ in run) / len(run), math.fsum(v for _, v in run) / len(run)))
    return out


def limits(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis: 0 is shown when the values come near it, and a constant gets room on both sides."""
    low, high = min(values), max(values)
    if low >= 0 and low <= 0.5 * high:
        low = 0.0
    elif high <= 0 and high >= 0.5 * low:
        high = 0.0
    if high - low > 1e-6 * max(abs(low), abs(high)):  # no reader could tell closer ends apart
        return low, high
    half = abs(low) * 0.1 if low else 1.0
    return low - half, high + half


def _share(values: Sequence[float | None], at: int) -> str:
    value = values[at]
    return "none" if value is None else f"{100 * value:.0f}%"
