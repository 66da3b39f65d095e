"""The report's tables: what improved, where the time and the tokens went, what failed, which versions were made."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ..clock import KINDS
from .charts import suites
from .read import Line, RunData
from .series import Metrics, Point


@dataclass(frozen=True)
class Measured:
    """A value and, where it was logged, its 95% interval."""

    value: float
    low: float | None
    high: float | None
    at: Point


@dataclass(frozen=True)
class Gain:
    """First and last value of one metric of a suite, measured by one stage."""

    suite: str
    metric: str
    stage: str
    first: Measured
    last: Measured
    times: int

    @property
    def change(self) -> float:
        """Last minus first."""
        return self.last.value - self.first.value

    @property
    def verdict(self) -> str:
        """What the two intervals allow to say. They are of each value alone, so that they overlap does not mean there is no change."""
        if self.times == 1:
            return "measured once"
        a, b = self.first, self.last
        if a.low is None or a.high is None or b.low is None or b.high is None:
            return "no interval"
        if b.low > a.high:
            return "higher, the intervals do not overlap"
        if b.high < a.low:
            return "lower, the intervals do not overlap"
        return "the intervals overlap"


def gains(metrics: Metrics) -> list[Gain]:
    """pass@1 of every suite, then pass@k and maj@k (maj@1 is pass@1)."""
    out = []
    for suite in suites(metrics.all):
        for series in metrics.matching(rf"eval/{re.escape(suite)}/(pass@\d+|maj@(?!1$)\d+)"):
            ends = [_measured(metrics, series.metric, series.stage, i) for i in (0, -1)]
            out.append(Gain(suite, series.metric.rpartition("/")[2], series.stage, ends[0], ends[1], len(series.points)))
    return sorted(out, key=lambda g: g.metric != "pass@1")


def _measured(metrics: Metrics, metric: str, stage: str, index: int) -> Measured:
    series = metrics.of(metric, stage)
    assert series is not None
    at = series.points[index]
    ends = []
    for end in ("low", "high"):
        other = metrics.of(f"{metric}/{end}", stage)
        ends.append(next((p.value for p in other.points if p.path == at.path), None) if other else None)
    return Measured(at.value, ends[0], ends[1], at)


@dataclass
class Spent:
    """Seconds of one stage (or of the whole run) by kind of work; `other` is what no kind accounts for. `overlapped` of the work passed
    beside other stages: with it the kinds sum to more than `seconds`."""

    stage: str
    kind: str = ""
    executions: int = 0
    seconds: float = 0.0
    overlapped: float = 0.0
    by_kind: dict[str, float] = field(default_factory=lambda: dict.fromkeys((*KINDS, "other"), 0.0))

    def add(self, line: Line) -> None:
        """Count one execution."""
        self.executions += 1
        self.seconds += line.seconds
        known = {k: line.metrics.get(f"time/{k}", 0.0) for k in KINDS}
        for k, value in known.items():
            self.by_kind[k] += value
        beside = line.metrics.get("time/overlapped", 0.0)
        self.overlapped += beside
        self.by_kind["other"] += max(0.0, line.seconds + beside - sum(known.values()))

    def shown(self, kinds: Iterable[str]) -> list[tuple[str, float]]:
        """(kind, seconds) of these kinds."""
        return [(kind, self.by_kind[kind]) for kind in kinds]


def times(lines: Iterable[Line]) -> tuple[Spent, list[Spent]]:
    """The whole run, and its stages by time taken."""
    total, stages = Spent(""), dict[str, Spent]()
    for line in lines:
        total.add(line)
        stages.setdefault(line.stage, Spent(line.stage, line.kind)).add(line)
    return total, sorted(stages.values(), key=lambda s: -s.seconds)


@dataclass
class Tokens:
    """Tokens of one stage. `trained`: response tokens that optimizers fitted, once per update."""

    stage: str
    prompt: float = 0.0
    generated: float = 0.0
    discarded: float = 0.0
    trained: float = 0.0
    seconds: float = 0.0

    @property
    def rate(self) -> float | None:
        """Generated tokens per second of generation, or None where nothing was generated."""
        return self.generated / self.seconds if self.generated and self.seconds else None


TOKENS = {"prompt_tokens": "prompt", "generated_tokens": "generated", "discarded_tokens": "discarded", "train/tokens": "trained"}


def tokens(lines: Iterable[Line]) -> list[Tokens]:
    """Tokens by stage, for the stages that count any, the total last."""
    stages: dict[str, Tokens] = {}
    total = Tokens("total")
    for line in lines:
        for metric, value in line.metrics.items():
            name = TOKENS.get(metric, TOKENS.get(metric.rpartition("/")[2]))
            if name is not None:
                own = stages.setdefault(line.stage, Tokens(line.stage))
                for t in (own, total):
                    setattr(t, name, getattr(t, name) + value)
        if line.stage in stages:
            for t in (stages[line.stage], total):
                t.seconds += line.metrics.get("time/generate", 0.0)
    return [*stages.values(), total] if stages else []


@dataclass(frozen=True)
class Failure:
    """How often something went wrong in a stage: `what` is an error, a time-out, an abstention, ..."""

    stage: str
    part: str
    what: str
    count: float
    last: str


def failures(lines: Iterable[Line]) -> list[Failure]:
    """Failures with a count above 0, by stage and part; `last` is the block path of the latest."""
    counts: dict[tuple[str, str, str], tuple[float, str]] = {}
    for line in lines:
        for part, what, count in _failed(line):
            if count:
                before = counts.get((line.stage, part, what), (0.0, ""))[0]
                counts[line.stage, part, what] = before + count, line.path
    return [Failure(*key, *value) for key, value in counts.items()]


def _failed(line: Line) -> Iterable[tuple[str, str, float]]:
    words = {"errors": "error", "timeouts": "time-out", "abstained": "abstention"}
    n = line.metrics.get("rollout/trajectories", 0.0)
    for metric, value in line.metrics.items():
        match = re.fullmatch(r"score/(.+)_(errors|timeouts|abstained)", metric)
        if match:
            yield match[1], words[match[2]], value
        elif metric in ("rollout/error", "rollout/failed"):
            yield "episode", metric.rpartition("/")[2], round(value * n)
        elif metric == "rollout/unparsed":
            yield "task parser", "unparsed", value
        elif re.fullmatch(r"eval/[^/]+/errors", metric):
            yield metric.split("/")[1], "unjudged", value


@dataclass
class Evolved:
    """The versions of one policy or memory, and where its aliases point."""

    name: str
    kind: str
    made: int
    last: str
    aliases: dict[str, str] = field(default_factory=dict)


def versions(run: RunData) -> list[Evolved]:
    """What evolved, from the manifest."""
    out: dict[str, Evolved] = {}
    for entry in run.manifest:
        for v in entry.get("versions", ()):
            mine = out.setdefault(v["name"], Evolved(v["name"], v["kind"], 0, ""))
            mine.made += 1
            mine.last = v["id"]
        for name, moved in entry.get("promotions", {}).items():
            if name in out:
                out[name].aliases.update(moved)
    return list(out.values())
