"""Learning curves of one or several runs over iterations, tokens or seconds, drawn as the report draws its charts."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..comparing.speed import generated
from ..report import vega
from ..report.charts import MOST, suites
from ..report.figures import WINDOWS, Chart, Curve, drawn, means, thinned
from ..report.read import Line
from ..report.series import Metrics, Series

AXES = {
    "iteration": "iterations", "tokens": "tokens sampled outside evaluations", "seconds": "seconds of all stages but evaluations",
}
"""What x may be, with its words. Cost is counted as `selfevo compare` counts it."""
MAIN = {
    "training reward (mean)": "rollout/reward", "entropy in rollouts (nats per token)": "rollout/entropy",
    "length (tokens)": "rollout/length", "share truncated": "rollout/truncated", "loss": "train/loss",
    "KL (nats per token)": r"train/.+/kl\w*", "gradient norm": "train/grad_norm",
    "gap to the sampler's log-probs (nats)": "train/sampler_gap", "gain at the gate": "gate/mean_gain",
}  # fmt: skip
"""Charts beside pass@1 of every suite: title and the metrics it takes."""
KEPT = 64
"""Drawn charts that are kept, so that a page that asks again costs nothing."""


def main_curve(spec: Mapping[str, Any], lines: Sequence[Line]) -> tuple[str, list[float]]:
    """(metric, values) that stand for a run: the spec's `metric`, else pass@1 of the first suite, else the training reward; of the stage
    that logged it most often. ("", []) for none."""
    named = spec.get("metric")
    suite = next((name for line in lines for name in line.metrics if re.fullmatch(r"eval/[^/]+/pass@1", name)), None)
    for name in filter(None, (named if isinstance(named, str) else None, suite, "rollout/reward", "score/score")):
        values: dict[str, list[float]] = {}
        for line in lines:
            if name in line.metrics:
                values.setdefault(line.stage, []).append(line.metrics[name])
        if values:
            return name, max(values.values(), key=len)
    return "", []


class Costs:
    """What a run had spent by each of its lines, for every axis, at one moment: {axis: {(path, stage): x}}."""

    def __init__(self, lines: Sequence[Line]):
        tokens = seconds = 0.0
        self.at: dict[str, dict[tuple[str, str], float]] = {"tokens": {}, "seconds": {}, "iteration": _iterations(lines)}
        for line in lines:
            if line.kind != "evaluate":
                tokens += generated(line)
                seconds += line.seconds
            self.at["tokens"][line.path, line.stage] = tokens
            self.at["seconds"][line.path, line.stage] = seconds

    def points(self, series: Series, axis: str) -> list[tuple[float, float]]:
        """(x, value) of a series."""
        places = self.at[axis]
        return [(places[p.path, series.stage], p.value) for p in series.points]


def _iterations(lines: Sequence[Line]) -> dict[tuple[str, str], float]:
    """Iterations whole by the end of each line's own; what a stage did k-th of m times in one lies at k/m of it. 0: before the first."""
    out: dict[tuple[str, str], float] = {}
    number, before = 0, ""
    within: dict[str, list[tuple[str, str]]] = {}

    def settle() -> None:
        for places in within.values():
            for k, place in enumerate(places, 1):
                out[place] = max(0.0, number - 1 + k / len(places)) if number else 0.0

    for line in lines:
        top = line.path.partition("/")[0]
        if "." in top and top != before:
            settle()
            number, before, within = number + 1, top, {}
        within.setdefault(line.stage, []).append((line.path, line.stage))
    settle()
    return out


class Drawn:
    """Charts of runs as values for the page; each is drawn once as long as its curves do not change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._svg: OrderedDict[Chart, str] = OrderedDict()

    def charts(self, runs: Sequence[tuple[str, Metrics, Costs]], axis: str, more: Sequence[str] = ()) -> dict[str, Any]:
        """Every main chart that any of the runs (label, metrics, costs) has values for, then one for each metric named in `more`.
        A single run's chart has a curve per stage or part, that of several runs a curve per run. Where no curve ever changed, and nobody
        asked for it, its value is given in `constant`."""
        charts, constant = [], []
        for chart in _charts(runs, axis, more):
            values = {y for curve in chart.curves for _, y in curve.points}
            if len(values) == 1 and chart.title not in more and not chart.title.startswith("pass@1"):
                constant.append([chart.title, values.pop()])
            else:
                charts.append(self._shown(chart))
        return {"charts": charts, "constant": constant}

    def _shown(self, chart: Chart) -> dict[str, Any]:
        with self._lock:
            svg = self._svg.pop(chart, None)
            if svg is None:
                svg = vega.svg(chart)
            self._svg[chart] = svg
            while len(self._svg) > KEPT:
                self._svg.popitem(last=False)
        header, rows = chart.table
        return {"title": chart.title, "note": chart.note, "spoken": chart.spoken, "curves": [c.label for c in chart.curves],
                "header": header, "rows": rows, "svg": svg}


def _charts(runs: Sequence[tuple[str, Metrics, Costs]], axis: str, more: Sequence[str]) -> Iterator[Chart]:
    names = dict.fromkeys(suite for _, metrics, _ in runs for suite in suites(metrics.all))
    wanted = {f"pass@1 on {suite}": f"eval/{re.escape(suite)}/pass@1" for suite in names} | MAIN
    wanted |= {name: re.escape(name) for name in more}
    for title, pattern in wanted.items():
        found = [(label, [s for s in metrics.all if re.fullmatch(pattern, s.metric)], costs, metrics) for label, metrics, costs in runs]
        total = sum(len(series) for _, series, _, _ in found)
        several = len({s.metric for _, series, _, _ in found for s in series}) > 1
        curves = []
        for label, series, costs, metrics in found:
            if total > MOST:  # every run keeps its share, the longest curves first
                series = sorted(series, key=lambda s: -len(s.points))[: max(1, MOST // len(runs))]
            for s in series:
                stages = len({other.stage for other in series if other.metric == s.metric}) > 1
                name = [label] * (len(runs) > 1) + [s.metric] * several + [s.stage] * stages
                points = costs.points(s, axis)
                mean = means(points) if len(points) > 2 * WINDOWS else []
                band = _band(metrics, costs, s, axis) if total == 1 else ()
                curves.append(Curve(", ".join(name) or s.metric, tuple(thinned(points)), tuple(mean), band))
        note = f"{len(curves)} of {total} shown" if len(curves) < total else ""
        if len(curves) == 1 and curves[0].band:
            note = "shaded: 95% bootstrap interval over tasks"
        if curves:
            yield drawn(title, curves, AXES[axis], note)


def _band(metrics: Metrics, costs: Costs, series: Series, axis: str) -> tuple[tuple[float, float, float], ...]:
    low, high = (metrics.of(f"{series.metric}/{end}", series.stage) for end in ("low", "high"))
    if low is None or high is None or not len(low.points) == len(high.points) == len(series.points):
        return ()
    xs = [x for x, _ in costs.points(series, axis)]
    return tuple(zip(xs, low.values, high.values, strict=True))
