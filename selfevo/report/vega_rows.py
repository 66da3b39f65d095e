"""Vega-Lite specifications of the figures in `rows`."""

from __future__ import annotations

import json
from typing import Any

from .rows import Bars, Dots, Scatter
from .samples import visible

ROW = 24
"""Height of a row in pixels."""
LETTER = 6.4
"""Pixels of a letter of a label, in a font that is rather wide."""


def dots(figure: Dots, frame: dict[str, Any]) -> dict[str, Any]:
    """Dots with intervals; what belongs to one row has one colour."""
    order = [str(i) for i in range(len(figure.rows))]
    spans = [r.span for r in figure.rows] + ([(figure.mark, figure.mark)] if figure.mark is not None else [])
    low, high = figure.limits or (min(a for a, _ in spans), max(b for _, b in spans))
    room = 0.04 * (high - low) or 0.05 * max(abs(high), 1e-3)
    paint = {i: f"var(--c{n % 8})" if figure.coloured else "var(--c0)" for n, i in enumerate(order)}
    most = 36 if figure.wide else 20
    names = {i: _cut(visible(r.label), most) for i, r in zip(order, figure.rows, strict=True)}
    extent = LETTER * max(map(len, names.values())) + 10  # Vega measures by another font than the reader's
    x = {"field": "x", "type": "quantitative", "title": figure.x_label, "scale": {"domain": [low - room, high + room], "nice": False,
                                                                                  "zero": False},
         "axis": {"tickCount": 7 if figure.wide else 5}}  # fmt: skip
    texts = {"labelExpr": f"{json.dumps(names)}[datum.value]", "labelLimit": 0, "labelPadding": 8, "minExtent": extent,
             "ticks": False, "domain": False, "grid": True}  # fmt: skip
    y = {"field": "r", "type": "ordinal", "sort": order, "title": None, "scale": {"domain": order}, "axis": texts}
    colour = {"field": "r", "type": "nominal", "scale": {"domain": order, "range": list(paint.values())}, "legend": None}
    layers: list[dict[str, Any]] = []
    if figure.mark is not None:
        layers.append({"data": {"values": [{"x": figure.mark}]}, "mark": {"type": "rule", "stroke": "var(--soft)", "strokeDash": [4, 3]},
                       "encoding": {"x": x}})  # fmt: skip
    bars = [{"r": i, "x": r.low, "h": r.high} for i, r in zip(order, figure.rows, strict=True) if r.low is not None]
    if bars:
        layers.append({"data": {"values": bars}, "mark": {"type": "rule", "strokeWidth": 2.2, "opacity": 0.75},
                       "encoding": {"y": y, "x": x, "x2": {"field": "h"}, "color": colour}})  # fmt: skip
    single = [{"r": i, "x": v} for i, r in zip(order, figure.rows, strict=True) if len(r.single) > 1 for v in r.single]
    if single:
        ring = {"type": "point", "size": 30, "strokeWidth": 1.2, "opacity": 0.7, "fill": "var(--back)"}
        layers.append({"data": {"values": single}, "mark": ring,
                       "encoding": {"y": y, "x": x, "stroke": colour}})  # fmt: skip
    values = [{"r": i, "x": r.value} for i, r in zip(order, figure.rows, strict=True)]
    layers.append({"data": {"values": values}, "mark": {"type": "point", "filled": True, "size": 85, "opacity": 1},
                   "encoding": {"y": y, "x": x, "color": colour}})  # fmt: skip
    size = {**frame, "height": len(order) * ROW + 6}
    return {**size, "autosize": {"type": "fit-x", "contains": "padding"}, "layer": layers}


def scatter(figure: Scatter, frame: dict[str, Any]) -> dict[str, Any]:
    """A point per run."""
    values = [{"x": a, "y": b} for a, b in figure.points]
    scale = {"type": "log"} if figure.log else {"zero": False}
    x = {"field": "x", "type": "quantitative", "title": figure.x_label, "scale": {**scale, "nice": False, "padding": 8},
         "axis": {"grid": False, "tickCount": 5, "format": ".2~e" if figure.log else "~r", "labelOverlap": True}}  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": None, "scale": {"domain": list(figure.limits), "nice": True, "zero": False}}
    mark = {"type": "point", "size": 34, "strokeWidth": 1.3, "stroke": "var(--c0)", "fill": "var(--back)", "opacity": 1}
    fit = {"type": "fit", "contains": "padding"}
    return {**frame, "autosize": fit, "data": {"values": values}, "mark": mark, "encoding": {"x": x, "y": y}}


def bars(figure: Bars, frame: dict[str, Any]) -> dict[str, Any]:
    """A bar per task, side by side."""
    values = [{"x": i, "w": i + 0.86, "y": v, "s": "b" if v > 0 else "w"} for i, v in enumerate(figure.values)]
    top = max([abs(v) for v in figure.values] + [0.1])
    x = {"field": "x", "type": "quantitative", "title": "tasks", "axis": {"labels": False, "ticks": False, "grid": False},
         "scale": {"domain": [0, max(1, len(values))], "nice": False}}  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": None, "scale": {"domain": [-top, top], "nice": True}}
    paint = {"domain": ["b", "w"], "range": ["var(--pos)", "var(--neg)"]}
    colour = {"field": "s", "type": "nominal", "scale": paint, "legend": None}
    layers = [
        {"data": {"values": values}, "mark": {"type": "rect"},
         "encoding": {"x": x, "x2": {"field": "w"}, "y": y, "y2": {"datum": 0}, "color": colour}},
        {"data": {"values": [{"y": 0}]}, "mark": {"type": "rule", "stroke": "var(--edge)"}, "encoding": {"y": y}},
    ]  # fmt: skip
    return {**frame, "autosize": {"type": "fit", "contains": "padding"}, "layer": layers}


def _cut(text: str, most: int) -> str:
    """A label of at most so many letters: a longer one loses its middle."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}…{text[-most // 2 :]}"
