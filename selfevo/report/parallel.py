"""Parallel coordinates: their data, and the drawing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from .figures import LISTED
from .numbers import number, short
from .samples import visible
from .series import natural

APART = 0.075
"""Least distance between two labels of an axis, as a share of its height."""
LOG = 20.0
"""Positive numbers whose greatest is so many times the least are set out on a logarithmic axis."""
MARKS = 10
"""An axis of more numbers is marked at round values."""
BAND = 0.11
"""Lines through one value of an axis are spread over at most this share of its height, so that each can be followed."""


@dataclass(frozen=True)
class Axis:
    """One axis: what is written at which place (0 at the bottom, 1 at the top). `spread`: how far lines through one value lie apart."""

    key: str
    marks: tuple[tuple[float, str], ...]
    spread: float


@dataclass(frozen=True)
class Line:
    """One run: its settings as text, their place on each axis, and its value of the metric."""

    settings: tuple[str, ...]
    places: tuple[float, ...]
    value: float


@dataclass(frozen=True)
class Parallel:
    """An axis per key and one for the metric; `lines` are in order of rank, the best first."""

    title: str
    note: str
    axes: tuple[Axis, ...]
    metric: str
    lines: tuple[Line, ...]

    kind, wide = "parallel", True

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        best = ", ".join(f"{axis.key} {text}" for axis, text in zip(self.axes, self.lines[0].settings, strict=True))
        top = f"{self.metric} {number(self.lines[0].value)}"
        return f"Parallel coordinates of {len(self.lines)} runs over {len(self.axes)} keys. Best: {best}, {top}."

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers, the best runs first."""
        rows: list[list[float | str | None]] = [[*line.settings, line.value] for line in self.lines[:LISTED]]
        return [*(axis.key for axis in self.axes), self.metric], rows


def axis(key: str, values: Sequence[str]) -> tuple[Axis, dict[str, float]]:
    """An axis through some values, and the place of each: numbers by their size, words in order and evenly."""
    known = sorted(set(values), key=natural)
    numbers = numeric(known)
    if numbers is None or len(known) < 3:
        place = {text: i / max(1, len(known) - 1) for i, text in enumerate(known)}
    else:
        low, high = min(numbers), max(numbers)
        log = low > 0 and high / low >= LOG
        scale = math.log if log else float
        place = {text: (scale(x) - scale(low)) / (scale(high) - scale(low)) for text, x in zip(known, numbers, strict=True)}
        if len(known) > MARKS:
            marks = {f"{x:.4g}": (scale(x) - scale(low)) / (scale(high) - scale(low)) for x in round_values(low, high, log)}
            return Axis(key, _marks(marks), 0.0), place
    least = min((b - a for a, b in pairwise(sorted(place.values()))), default=1.0)
    return Axis(key, _marks(place), min(BAND, 0.6 * least) if len(known) < len(values) else 0.0), place


def round_values(low: float, high: float, log: bool) -> list[float]:
    """Round numbers within [low, high], about five; the powers of ten on a logarithmic axis, with what is between where they are few."""
    if log:
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1,), (1, 3), (1, 2, 5)):
            found = [step * 10.0**power for power in powers for step in steps if low <= step * 10.0**power <= high]
            if len(found) >= 3:
                return found
        return [low, high]
    unit = 10.0 ** math.floor(math.log10((high - low) / 4))
    step = next(m * unit for m in (1, 2, 2.5, 5, 10) if (high - low) / (m * unit) <= 6)
    return [round(i * step, 12) for i in range(math.ceil(low / step), math.floor(high / step) + 1)]


def numeric(values: Sequence[str]) -> list[float] | None:
    """The values as finite numbers; None where one is a word."""
    try:
        numbers = [float(v) for v in values]
    except ValueError:
        return None
    return numbers if all(map(math.isfinite, numbers)) and len(set(numbers)) == len(numbers) else None


def heads(keys: Sequence[str]) -> list[str]:
    """The last parts of dotted keys, as many as tell each from the others."""
    out = []
    for key in keys:
        parts = key.split(".")
        tails = (".".join(parts[-n:]) for n in range(1, len(parts) + 1))
        out.append(next((t for t in tails if sum(k == t or k.endswith("." + t) for k in keys) == 1), key))
    return out


def _marks(place: dict[str, float]) -> tuple[tuple[float, str], ...]:
    """Labels of an axis, those left out that would lie on others; both ends stay."""
    order = sorted(place.items(), key=lambda item: item[1])
    top = order[-1]
    kept = [order[0]]
    for text, at in order[1:]:
        if at - kept[-1][1] >= APART and (text == top[0] or top[1] - at >= APART):
            kept.append((text, at))
    if top not in kept:
        kept.append(top)
    return tuple((at, short(text)) for text, at in kept)


def spec(figure: Parallel, frame: dict[str, Any], font: str) -> dict[str, Any]:
    """A Vega-Lite specification. The best run is drawn last, on top."""
    names = [*heads([axis.key for axis in figure.axes]), figure.metric.rpartition("/")[2]]
    order = [str(i) for i in range(len(names))]
    values = [line.value for line in figure.lines]
    low, high = min(values), max(values)
    last, first = figure.lines[-1].value, figure.lines[0].value

    def strength(v: float) -> float:
        return (v - last) / (first - last) if first != last else 1.0

    lift = (lambda v: (v - low) / (high - low)) if high > low else (lambda v: 0.5)
    total = len(figure.lines)
    points = []
    for rank in reversed(range(total)):
        line = figure.lines[rank]
        aside = 0.5 - rank / (total - 1) if total > 1 else 0.0
        heights = [p + aside * axis.spread for p, axis in zip(line.places, figure.axes, strict=True)]
        points += [{"a": a, "p": p, "run": total - rank, "v": strength(line.value), "best": rank == 0}
                   for a, p in zip(order, [*heights, lift(line.value)], strict=True)]  # fmt: skip
    marks = [{"a": a, "p": p, "t": visible(text)} for a, axis in zip(order, figure.axes, strict=False) for p, text in axis.marks]
    ends = dict.fromkeys((low, high) if high > low else (low,))
    marks += [{"a": order[-1], "p": lift(v), "t": f"{v:.3g}"} for v in ends]
    x = {"field": "a", "type": "ordinal", "scale": {"domain": order, "type": "point", "padding": 0.5}, "axis": None}
    y = {"field": "p", "type": "quantitative", "scale": {"domain": [-0.06, 1.06], "nice": False}, "axis": None}
    colours = {"domain": [False, True], "range": ["var(--c0)", "var(--c1)"]}
    faint = 0.55 if total <= 12 else 0.3 if total <= 60 else 0.15
    run = {"x": x, "y": y, "detail": {"field": "run", "type": "nominal"},
           "opacity": {"field": "v", "type": "quantitative", "scale": {"domain": [0, 1], "range": [faint, 0.95]}, "legend": None},
           "color": {"field": "best", "type": "nominal", "scale": colours, "legend": None}}  # fmt: skip
    tops = [{"a": a, "t": visible(name)} for a, name in zip(order, names, strict=True)]
    text = {"type": "text", "fontSize": 10.5, "font": font}
    halo = {**text, "align": "left", "dx": 6, "limit": 110, "stroke": "var(--back)", "strokeWidth": 4, "strokeJoin": "round"}
    label = {**text, "align": "left", "dx": 6, "limit": 110, "color": "var(--text)"}
    place = {"x": x, "y": y, "text": {"field": "t"}}
    room = int(860 / len(names)) - 18
    layers = [
        {"data": {"values": tops}, "mark": {"type": "rule", "stroke": "var(--edge)"}, "encoding": {"x": x}},
        {"data": {"values": points}, "mark": {"type": "line", "strokeWidth": 1.5, "strokeJoin": "round"}, "encoding": run},
        {"data": {"values": points[-len(names):]}, "mark": {"type": "line", "strokeWidth": 2.6}, "encoding": run},
        {"data": {"values": marks}, "mark": halo, "encoding": place},
        {"data": {"values": marks}, "mark": label, "encoding": place},
        {"data": {"values": tops},
         "mark": {**text, "align": "center", "dy": -10, "color": "var(--text)", "fontWeight": 600, "limit": room},
         "encoding": {"x": x, "y": {"value": 0}, "text": {"field": "t"}}},
    ]  # fmt: skip
    return {**frame, "layer": layers}
