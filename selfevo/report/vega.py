"""Charts as static SVG, drawn by Vega-Lite (vl-convert, no browser) when the page is written.

The page runs no script of a plotting library, which would weigh more than a megabyte and need a policy that allows it; the same drawing
serves screen, print and readers without script. Colours are the page's CSS variables, so it follows light and dark. No name that a spec
or a model chose gets into a line chart's drawing (series are s0, s1, ...; the legend is HTML); Vega escapes the labels of heat maps.
"""

from __future__ import annotations

import re
from html import escape
from typing import Any

from . import parallel, vega_rows
from .figures import Chart, Heat
from .parallel import Parallel
from .rows import Bars, Dots, Scatter

DOTS = 60
"""A curve with more points than this is drawn as a line without dots."""
DASHES = ([1, 0], [6, 3], [2, 3], [9, 3, 2, 3], [4, 4], [1, 2], [12, 4], [8, 2, 2, 2])
"""Of the series, so that they can be told apart without colour; page.css has the same for the legend."""
FONT = "system-ui, sans-serif"


def svg(figure: Chart | Heat | Parallel | Dots | Bars | Scatter) -> str:
    """The drawing as an <svg> element, hidden from screen readers, which are given words and a table instead."""
    import vl_convert

    try:
        text = vl_convert.vegalite_to_svg(specification(figure), allowed_base_urls=[])
    except ValueError as error:  # one drawing must not cost a run its report; the numbers stand below it
        return f"<p>Not drawn: {escape(str(error).splitlines()[0])}</p>"
    head = re.match(r"<svg [^>]*?(viewBox=\"[^\"]*\")[^>]*>", text)
    assert head is not None, text[:200]
    return f'<svg class="chart" aria-hidden="true" focusable="false" {head[1]}>{text[head.end():]}'


def specification(figure: Chart | Heat | Parallel | Dots | Bars | Scatter) -> dict[str, Any]:
    """The Vega-Lite specification of a figure."""
    if isinstance(figure, Dots):
        return vega_rows.dots(figure, _frame(780 if figure.wide else 380, 100))
    if isinstance(figure, Bars):
        return vega_rows.bars(figure, _frame(380, 150))
    if isinstance(figure, Scatter):
        return vega_rows.scatter(figure, _frame(380, 170))
    if isinstance(figure, Parallel):
        return parallel.spec(figure, _frame(860, 260), FONT)
    return lines(figure) if isinstance(figure, Chart) else heat(figure)


def lines(chart: Chart) -> dict[str, Any]:
    """A Vega-Lite specification of a line chart."""
    ids = [f"s{i}" for i in range(len(chart.curves))]
    scale = {"domain": ids, "range": [f"var(--c{i % 8})" for i in range(len(ids))]}
    colour = {"field": "s", "type": "nominal", "scale": scale, "legend": None}
    dash = {"field": "s", "type": "nominal", "scale": {"domain": ids, "range": [DASHES[i % 8] for i in range(len(ids))]}, "legend": None}
    span = [x for c in chart.curves for x, _ in c.points]
    low, high = (min(span), max(span)) if min(span) < max(span) else (min(span) - 1, max(span) + 1)
    x = {"field": "x", "type": "quantitative", "title": chart.x_label, "scale": {"domain": [low, high], "nice": False},
         "axis": {"grid": False} | ({"values": whole(low, high), "format": ",d"} if high - low >= 3 or chart.counted else {"tickCount": 5})}
    y = {"field": "y", "type": "quantitative", "title": None, "axis": _numbers(chart),
         "scale": {"domain": list(chart.y), "nice": True, "zero": False}}
    layers: list[dict[str, Any]] = []
    bands = [{"x": a, "y": b, "h": h, "s": s} for s, c in zip(ids, chart.curves, strict=True) for a, b, h in c.band]
    if bands:
        layers.append({"data": {"values": bands}, "mark": {"type": "area", "opacity": 0.18},
                       "encoding": {"x": x, "y": y, "y2": {"field": "h"}, "color": colour}})
    for own, pale in (("points", any(c.mean for c in chart.curves)), ("mean", False)):
        values = [{"x": a, "y": b, "s": s} for s, c in zip(ids, chart.curves, strict=True) for a, b in getattr(c, own)]
        if not values:
            continue
        mark = {"type": "line", "strokeWidth": 1 if pale else 1.8, "opacity": 0.3 if pale else 1, "strokeJoin": "round"}
        layers.append({"data": {"values": values}, "mark": mark, "encoding": {"x": x, "y": y, "color": colour, "strokeDash": dash}})
        if not pale and own == "points" and max(len(c.points) for c in chart.curves) <= DOTS:
            layers.append({"data": {"values": values}, "mark": {"type": "point", "filled": True, "size": 22, "opacity": 1},
                           "encoding": {"x": x, "y": y, "color": colour}})
    return {**_frame(380, 180), "autosize": {"type": "fit", "contains": "padding"}, "layer": layers}


def heat(figure: Heat) -> dict[str, Any]:
    """A Vega-Lite specification of a heat map: the darker, the larger the share."""
    order = list(figure.columns)
    values = [{"r": r, "c": c, "v": v} for r, row in zip(figure.rows, figure.values, strict=True)
              for c, v in zip(order, row, strict=True) if v is not None]
    shown = order[:: max(1, -(-len(order) // 12))]
    plain = {"ticks": False, "domain": False}
    encoding = {
        "x": {"field": "c", "type": "ordinal", "sort": order, "scale": {"domain": order, "paddingInner": 0.04}, "title": figure.x_label,
              "axis": {"values": shown, "labelAngle": 0, **plain}},
        "y": {"field": "r", "type": "ordinal", "sort": list(figure.rows), "title": None, "axis": {"labelLimit": 180, **plain},
              "scale": {"domain": list(figure.rows), "paddingInner": 0.06}},
        "color": {"value": "var(--c0)"},
        "opacity": {"field": "v", "type": "quantitative", "scale": {"domain": [0, 1], "range": [0.04, 1]}, "legend": None},
    }  # fmt: skip
    size = _frame(780, max(24, 20 * len(figure.rows)))
    return {**size, "data": {"values": values}, "mark": {"type": "rect", "stroke": "var(--back)"}, "encoding": encoding}


def whole(low: float, high: float, most: int = 6) -> list[int]:
    """At most `most` whole numbers within [low, high] to mark, a round step apart (updates and k come in whole numbers)."""
    step, unit = 1, 1
    while high // step - -(-low // step) + 1 > most:
        step = next((m * unit for m in (1, 2, 5) if m * unit > step), 10 * unit)
        unit = 10 * unit if step == 10 * unit else unit
    return list(range(int(-(-low // step) * step), int(high // step * step) + 1, step))


def _numbers(chart: Chart) -> dict[str, Any]:
    """How the values are written: very small ones with an exponent, large ones with k, M, G."""
    top = max(map(abs, chart.y))
    return {"format": ".2~e"} if top < 1e-3 else {"format": ".3~s"} if top >= 1e4 else {}


def _frame(width: int, height: int) -> dict[str, Any]:
    axis = {"labelColor": "var(--soft)", "titleColor": "var(--soft)", "gridColor": "var(--rule)", "domainColor": "var(--edge)",
            "tickColor": "var(--edge)", "titleFontWeight": "normal", "labelFontSize": 10.5, "titleFontSize": 10.5, "labelFont": FONT,
            "titleFont": FONT, "tickSize": 4, "gridWidth": 0.8}  # fmt: skip
    side = {"domain": False, "ticks": False, "tickCount": 5, "labelPadding": 6}
    return {"$schema": "https://vega.github.io/schema/vega-lite/v6.json", "width": width, "height": height, "padding": 4,
            "background": None, "config": {"aria": False, "axis": axis, "axisY": side, "view": {"stroke": None}}}  # fmt: skip
