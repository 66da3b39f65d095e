"""Metrics as DataFrames: a row per iteration, one curve, evaluations, committed stages. Names are those of metrics.jsonl and the report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest
from .optional import pandas

if TYPE_CHECKING:
    import pandas as pd

    from ..report.read import Line


def metrics(lines: Sequence[Line]) -> pd.DataFrame:
    """A row per place in the loop ("start", "main.0", "main.1", ...), a column per metric; NaN where it was not logged.

    Index: `path`. `iteration`: of the run's outermost loop; `updates`: train stages committed by the end of the row. A metric that
    several stages log has a column for each, "<metric> (<stage>)", as in the report's legends.
    """
    stages: dict[str, set[str]] = {}
    for line in lines:
        for name in line.metrics:
            stages.setdefault(name, set()).add(line.stage)
    rows: dict[str, dict[str, Any]] = {}
    for line in lines:
        row = rows.setdefault(line.path, {"path": line.path, "iteration": line.iteration})
        row["updates"] = line.updates
        row |= {name if len(stages[name]) == 1 else f"{name} ({line.stage})": value for name, value in line.metrics.items()}
    frame = pandas().DataFrame(list(rows.values()), columns=None if rows else ["path", "iteration", "updates"])
    return frame.set_index("path")


def curve(lines: Sequence[Line], metric: str, stage: str | None) -> pd.Series:
    """One metric over the updates so far, as the report draws it. Raises UserError for a metric or stage that is not there, and where
    several stages log it and none is named."""
    from ..report.series import Metrics

    known = Metrics(lines)
    found = known.named(metric)
    if not found:
        raise UserError(f"metric '{metric}': not logged by this run{nearest(metric, (s.metric for s in known.all), 20)}")
    logging = [s.stage for s in found]
    if stage is None and len(found) > 1:
        raise UserError(f"metric '{metric}': logged by several stages; name one with stage={nearest('', logging)}")
    if stage is not None and stage not in logging:
        raise UserError(f"metric '{metric}': not logged by stage '{stage}'{nearest(stage, logging)}")
    series = next(s for s in found if stage in (None, s.stage))
    pd = pandas()
    return pd.Series(series.values, pd.Index([p.updates for p in series.points], name="updates"), name=metric, dtype="float64")


def evaluations(lines: Sequence[Line]) -> pd.DataFrame:
    """A row per evaluated suite and commit: where, suite, then the suite's metrics under their own names ("pass@1", "pass@1/low", ...)."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        suites: dict[str, dict[str, float]] = {}
        for name, value in line.metrics.items():
            match = re.fullmatch(r"eval/([^/]+)/(.+)", name)
            if match:
                suites.setdefault(match[1], {})[match[2]] = value
        where = {"path": line.path, "stage": line.stage, "iteration": line.iteration, "updates": line.updates}
        rows += [{**where, "suite": suite, **values} for suite, values in suites.items()]
    return pandas().DataFrame(rows, columns=None if rows else ["path", "stage", "iteration", "updates", "suite"])


def stages(lines: Sequence[Line]) -> pd.DataFrame:
    """A row per committed stage, in order: path, stage, kind, iteration, updates, seconds, tokens, table ("rows", "scores", "samples" or
    None): which tables there are."""
    rows = [(line.path, line.stage, line.kind, line.iteration, line.updates, line.seconds, line.entry.get("tokens", 0),
             line.entry.get("table")) for line in lines]  # fmt: skip
    return pandas().DataFrame(rows, columns=["path", "stage", "kind", "iteration", "updates", "seconds", "tokens", "table"])
