"""Line charts as inline SVG: the geometry is computed here, drawn by chart.svg.jinja.

No plotting library: the smallest of them that draws in a browser weighs megabytes of script, and a page that runs no script at all
cannot be made to run one by what a model wrote. Colours come from the page's CSS, so one drawing serves light, dark and print.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .numbers import number
from .series import Series, places

LEFT, RIGHT, TOP, BOTTOM = 50.0, 12.0, 10.0, 34.0
DOTS = 60
"""A curve with more points than this is drawn as a line without dots."""
WINDOWS = 50
"""A curve with more than twice as many points is drawn pale, with the means of so many windows on top."""
DETAIL = 400
"""A curve with more points than this keeps the extremes of each of DETAIL / 2 buckets."""


@dataclass(frozen=True)
class Curve:
    """One drawn series; `path`, `mean` and `band` are SVG path data ("" for none), `dots` are (x, y, text shown on hover)."""

    label: str
    path: str
    mean: str
    band: str
    dots: tuple[tuple[float, float, str], ...]
    first: float
    last: float


@dataclass(frozen=True)
class Chart:
    """A drawn chart. Ticks are (position, label); all coordinates are SVG user units of a `width` by `height` box."""

    title: str
    note: str
    wide: bool
    width: float
    height: float
    curves: tuple[Curve, ...]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_label: str

    left, right, top, bottom = LEFT, RIGHT, TOP, BOTTOM

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        ends = "; ".join(f"{c.label}: from {number(c.first)} to {number(c.last)}" for c in self.curves)
        return f"Line chart of {self.title} over {self.x_label}. {ends}."


def chart(title: str, series: Sequence[Series], note: str = "", band: tuple[Series, Series] | None = None, wide: bool = False) -> Chart:
    """Draw series in one pair of axes; `band` holds the lower and upper ends of an interval around the first of them."""
    width, height = (760.0, 260.0) if wide else (400.0, 200.0)
    xs, x_label = places(series)
    values = [v for s in (*series, *(band or ())) for v in s.values]
    x_low, x_high = _apart(float(min(map(min, xs))), float(max(map(max, xs))))
    y_ticks = ticks(*_range(values), 5)
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def X(x: float) -> float:
        return round(LEFT + (x - x_low) / (x_high - x_low) * (width - LEFT - RIGHT), 1)

    def Y(y: float) -> float:
        return round(height - BOTTOM - (y - y_low) / (y_high - y_low) * (height - TOP - BOTTOM), 1)

    def line(points: Sequence[tuple[float, float]]) -> str:
        return "M" + "L".join(f"{X(a):g},{Y(b):g}" for a, b in points)

    curves = []
    for i, (s, x) in enumerate(zip(series, xs, strict=True)):
        points = list(zip(x, s.values, strict=True))
        mean = line(means(points)) if len(points) > 2 * WINDOWS else ""
        around = _band(x, band, X, Y) if band is not None and i == 0 else ""
        dots = tuple((X(a), Y(b), f"{s.label}: {number(b)} at {p.path}/{s.stage}") for (a, b), p in zip(points, s.points, strict=True))
        curves.append(Curve(s.label, line(thinned(points)), mean, around, dots if len(dots) <= DOTS else (), s.first, s.last))
    x_ticks = tuple((X(t), number(t)) for t in ticks(x_low, x_high, 8 if wide else 5) if max(x_low, 0) <= t <= x_high and t == int(t))
    if any(c.mean for c in curves):
        note = "; ".join(filter(None, (note, f"strong: means of {WINDOWS} windows")))
    marks = tuple(zip(map(Y, y_ticks), _labels(y_ticks), strict=True))
    return Chart(title, note, wide, width, height, tuple(curves), x_ticks, marks, x_label)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten apart) that enclose [low, high], some `about` of them."""
    raw = (high - low) / about
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [float(f"{i * step:.15g}") for i in range(first, last + 1)]


def thinned(points: Sequence[tuple[int, float]], limit: int = DETAIL) -> list[tuple[int, float]]:
    """At most `limit` points (ends included): the lowest and highest of equal buckets, so that no spike is lost."""
    if len(points) <= limit:
        return list(points)
    buckets = limit // 2 - 1
    out = [points[0]]
    for b in range(buckets):
        bucket = points[len(points) * b // buckets : len(points) * (b + 1) // buckets]
        out += sorted({min(bucket, key=lambda p: p[1]), max(bucket, key=lambda p: p[1])})
    return [*out, points[-1]]


def means(points: Sequence[tuple[int, float]], windows: int = WINDOWS) -> list[tuple[float, float]]:
    """Mean x and mean value of `windows` equal runs of points."""
    out = []
    for w in range(windows):
        run = points[len(points) * w // windows : len(points) * (w + 1) // windows]
        out.append((sum(x for x, _ in run) / len(run), math.fsum(v for _, v in run) / len(run)))
    return out


def _band(x: Sequence[int], band: tuple[Series, Series], X: Callable[[float], float], Y: Callable[[float], float]) -> str:
    low, high = (s.values for s in band)
    over = [f"{X(a):g},{Y(b):g}" for a, b in zip(x, high, strict=True)]
    back = [f"{X(a):g},{Y(b):g}" for a, b in zip(reversed(x), reversed(low), strict=True)]
    return "M" + "L".join(over + back) + "Z"


def _range(values: Sequence[float]) -> tuple[float, float]:
    """Limits of an axis: 0 is shown when the values come near it, and a constant gets room on both sides."""
    low, high = min(values), max(values)
    if low >= 0 and low <= 0.5 * high:
        low = 0.0
    elif high <= 0 and high >= 0.5 * low:
        high = 0.0
    return _apart(low, high)


def _apart(low: float, high: float) -> tuple[float, float]:
    """A range to draw in; ends that agree to six digits count as one value, since no reader could tell their ticks apart."""
    if high - low > 1e-6 * max(abs(low), abs(high)):
        return low, high
    half = abs(low) * 0.1 if low else 1.0
    return low - half, high + half


def _labels(values: Sequence[float]) -> list[str]:
    """Ticks with as many digits as tell neighbours apart."""
    step = values[1] - values[0]
    top = max(map(abs, values))
    if 1e-3 <= top < 1e5:
        places = max(0, -math.floor(math.log10(step) + 1e-9))
        return [f"{v:,.{places}f}" for v in values]
    digits = max(0, math.ceil(math.log10(top / step) - 1e-9))
    return [re.sub(r"e([+-])0*(\d)", lambda m: f"e{m[1].strip('+')}{m[2]}", f"{v:.{digits}e}") if v else "0" for v in values]
