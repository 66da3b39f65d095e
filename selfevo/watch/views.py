"""What the page is told of a run: a row of the overview, and all that its panel shows."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..report.series import Metrics
from ..report.summary import failures, gains, times
from . import progress
from .curves import Costs, main_curve
from .run import Watched
from .state import WHY

SPARK = 48
"""Points of a sparkline."""
SHOWN_AS = {"elsewhere": "running", "unknown": "stale"}


class Seen:
    """What was worked out of a run at one version of it."""

    def __init__(self, run: Watched):
        self.run, self.version, self.data = run, run.version, run.data
        self.loop = progress.loop(run.spec)
        self.place = progress.place(self.loop, self.data.lines, run.state == "done")

    @cached_property
    def metrics(self) -> Metrics:
        """Its series."""
        return Metrics(self.data.lines)

    @cached_property
    def costs(self) -> Costs:
        """The x of its curves."""
        return Costs(self.data.lines)


def row(name: str, label: str, run: Watched, seen: Seen | None) -> dict[str, Any]:
    """One row of the overview. Times are seconds, `changed` since 1970: the page counts on from there. `seen`: None for a run that was
    found but not read yet."""
    base = {"id": name, "label": label}
    if seen is None:
        return {**base, "state": "reading", "why": "being read for the first time"}
    lines = seen.data.lines
    metric, values = main_curve(run.spec, lines)
    state = SHOWN_AS.get(run.state, run.state)
    done = state == "done"
    return {
        **base, "name": seen.data.name, "state": state, "why": WHY[run.state], "trouble": run.trouble, "version": run.version,
        "iteration": seen.place.iteration, "total": seen.place.total, "stage": _stage(seen) if state == "running" else "",
        "metric": metric, "value": values[-1] if values else None, "spark": spark(values),
        "tokens": run.tokens, "seconds": _elapsed(seen), "began": run.began, "left": None if done else progress.left(seen.place, lines),
        "changed": run.changed,
    }  # fmt: skip


def panel(label: str, run: Watched, seen: Seen, now: float) -> dict[str, Any]:
    """Everything of an opened run but its curves and trajectories."""
    lines, data = seen.data.lines, seen.data
    total, stages = times(lines)
    last = max((line.updates for line in lines), default=0)
    state = SHOWN_AS.get(run.state, run.state)
    return {
        "name": data.name, "label": label, "state": state, "directory": str(run.root), "version": run.version, "now": now,
        "why": WHY[run.state], "trouble": run.trouble,
        "path": seen.place.path, "steps": [{"stage": s.stage, "state": _step(s.state, state), "usual": s.usual} for s in seen.place.steps],
        "facts": [[name, str(value)] for name, value in (
            ("seed", data.spec.get("seed")), ("committed stages", f"{len(lines):,}"), ("updates", f"{last:,}")) if value is not None],
        "gains": [{"suite": g.suite, "metric": g.metric, "first": _measured(g.first), "last": _measured(g.last), "change": g.change,
                   "verdict": g.verdict} for g in gains(seen.metrics)],
        "failures": sum(f.count for f in failures(lines)),
        "times": {kind: value for kind, value in total.by_kind.items() if value > 0},
        "stages": [{"stage": s.stage, "executions": s.executions, "seconds": s.seconds} for s in stages],
        "log": "\n".join(run.log.splitlines()[-40:]), "metrics": sorted({s.metric for s in seen.metrics.all}),
        "tables": sum(line.entry.get("table") == "rows" for line in lines),
    }  # fmt: skip


def spark(values: list[float]) -> list[float]:
    """At most SPARK values of a curve: means of equal windows, the last value kept as it is."""
    if len(values) <= SPARK:
        return values
    n = SPARK - 1
    body = values[:-1]
    cuts = [body[len(body) * i // n : len(body) * (i + 1) // n] for i in range(n)]
    return [sum(c) / len(c) for c in cuts] + [values[-1]]


def _step(step: str, run: str) -> str:
    """A stage of a run that is over is not at work, and all stages of one that is done are."""
    return "done" if run == "done" else "waiting" if step == "at work" and run != "running" else step


def _measured(m: Any) -> Mapping[str, float | None]:
    return {"value": m.value, "low": m.low, "high": m.high}


def _elapsed(seen: Seen) -> float:
    """Seconds of all committed stages, or of the process that ended the run where that is more: it has its start in it."""
    last = seen.data.manifest[-1].get("seconds") if seen.data.manifest else None
    total = last.get("total") if isinstance(last, Mapping) else None
    return max(seen.run.seconds, total) if isinstance(total, (int, float)) else seen.run.seconds


def _stage(seen: Seen) -> str:
    if not seen.data.lines:
        return "starting"
    working = next((s.stage for s in seen.place.steps if s.state == "at work"), "")
    return re.sub(r"\s+", " ", working)
