"""Which charts a report shows: metrics that belong together in one pair of axes, everything else on its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .entries import Entries
from .explore import groups, heats, pass_at_k
from .figures import Chart, Heat, chart
from .series import Metrics, Series, natural

MOST = 8
"""Series in one chart; more cannot be told apart."""


@dataclass
class Section:
    """Charts under one heading; `constant`: metrics that did not change, as (metric, stage, value); `same`: metrics whose values are
    those of a curve that is already drawn here; `missing`: what the run did not record, in words; `brief`: metrics with two
    values and no chart of their own, as (metric, stage, first, last); `sources`: of each chart of metrics its title and series, those of
    its interval (low, high) behind the first."""

    title: str
    charts: list[Chart | Heat] = field(default_factory=list)
    constant: list[tuple[str, str, float]] = field(default_factory=list)
    same: list[str] = field(default_factory=list)
    drawn: set[tuple[float, ...]] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)
    brief: list[tuple[str, str, float, float]] = field(default_factory=list)
    sources: list[tuple[str, tuple[Series, ...]]] = field(default_factory=list)

    @property
    def anchor(self) -> str:
        """The section's id in the page."""
        return "charts-" + re.sub(r"\W+", "-", self.title.lower())


class Plan:
    """Hands out each series once, so that what no group names still gets a chart."""

    def __init__(self, metrics: Metrics):
        self.metrics = metrics
        self.used: set[tuple[str, str]] = set()
        self.held: set[tuple[str, str]] = set()

    def add(self, section: Section, title: str, pattern: str, again: bool = False) -> None:
        """One chart of every series that matches, unless none of them changes or all are drawn already (then they are listed).

        `again` also takes series that another chart has taken.
        """
        found = [s for s in self.metrics.matching(pattern) if again or (s.metric, s.stage) not in self.used]
        found.sort(key=lambda s: natural(s.label))
        self.used |= {(s.metric, s.stage) for s in found}
        if all(s.constant for s in found):
            told = {(metric, value) for metric, _, value in section.constant}
            section.constant += [(s.metric, s.stage, s.last) for s in {(s.metric, s.last): s for s in found}.values()
                                 if (s.metric, s.last) not in told]  # fmt: skip
            return
        if all(tuple(s.values) in section.drawn for s in found):
            section.same += [m for m in dict.fromkeys(s.metric for s in found) if m not in section.same]
            return
        shown = spread(found, MOST)
        section.drawn |= {tuple(s.values) for s in shown}
        note = f"{len(shown)} of {len(found)} shown" if len(shown) < len(found) else ""
        band = self._interval(shown[0]) if len(shown) == 1 else None
        if band is not None:
            note = "shaded: 95% bootstrap interval over tasks"
        section.charts.append(chart(title, shown, note, band))
        section.sources.append((title, (*shown, *(band or ()))))

    def drop(self, pattern: str) -> None:
        """Leave matching series out of the charts: other parts of the page show them."""
        self.used |= {(s.metric, s.stage) for s in self.metrics.matching(pattern)}

    def hold(self, pattern: str) -> None:
        """Keep matching series for a later section."""
        found = {(s.metric, s.stage) for s in self.metrics.matching(pattern)} - self.used
        self.held |= found
        self.used |= found

    def release(self) -> None:
        """Give back what was held."""
        self.used -= self.held
        self.held = set()

    def rest(self, section: Section, pattern: str) -> None:
        """A chart for every metric left that matches; metrics named a=1, a=2, ... share one. Those with two values are listed."""
        for s in self.metrics.matching(pattern):
            if (s.metric, s.stage) not in self.used and len(s.points) == 2 and not s.constant:
                section.brief.append((s.metric, s.stage, s.first, s.last))
                self.used.add((s.metric, s.stage))
        left = dict.fromkeys(family(s.metric) for s in self.metrics.matching(pattern) if (s.metric, s.stage) not in self.used)
        for name in left:
            self.add(section, name, re.escape(name) + r"(?:=(.+))?" if self._has_members(name) else re.escape(name))

    def _has_members(self, name: str) -> bool:
        return any(s.metric.startswith(f"{name}=") for s in self.metrics.all)

    def _interval(self, series: Series) -> tuple[Series, Series] | None:
        low, high = (self.metrics.of(f"{series.metric}/{end}", series.stage) for end in ("low", "high"))
        whole = low is not None and high is not None and len(low.points) == len(high.points) == len(series.points)
        return (low, high) if low is not None and high is not None and whole else None


def family(metric: str) -> str:
    """"curriculum/solved/level" of "curriculum/solved/level=3"; a name without "=" is its own family."""
    return metric.partition("=")[0]


def spread(series: Sequence[Series], most: int) -> list[Series]:
    """At most `most` of them, evenly spaced, the first and the last included."""
    if len(series) <= most:
        return list(series)
    return [series[round(i * (len(series) - 1) / (most - 1))] for i in range(most)]


def sections(metrics: Metrics, entries: Entries | None = None) -> list[Section]:
    """Every chart of a run; sections with nothing to show are left out. `entries` tell what the metrics do not."""
    plan = Plan(metrics)
    plan.drop(r"time/.*")
    made = [_evaluation(plan), _exploration(plan, entries), _rollout(plan), _training(plan)]
    curriculum = _others(plan, "Curriculum", "curriculum")
    curriculum.charts[:0] = heats(entries) if entries is not None else []
    made += [curriculum, _others(plan, "Numbers that vary", "vary")]
    prefixes = dict.fromkeys(s.metric.partition("/")[0] for s in metrics.all)
    made += [_others(plan, prefix.capitalize(), prefix) for prefix in prefixes]
    return [s for s in made if s.charts or s.constant or s.missing or s.brief]


def suites(metrics: Iterable[Series]) -> list[str]:
    """Names of the evaluated suites, in order of appearance."""
    found = (re.fullmatch(r"eval/([^/]+)/.+", s.metric) for s in metrics)
    return list(dict.fromkeys(m[1] for m in found if m))


def _evaluation(plan: Plan) -> Section:
    section = Section("Evaluation")
    for suite in suites(plan.metrics.all):
        own = f"eval/{re.escape(suite)}"
        plan.drop(f"{own}/(tasks|samples|errors|generated_tokens|pass@1/low|pass@1/high)")
        plan.add(section, f"pass@1 on {suite}", f"{own}/pass@1")
        plan.add(section, f"pass@1 on {suite} by level", f"{own}/pass@1/level=(.+)")
        plan.add(section, f"pass@1 on {suite} by category", f"{own}/pass@1/category=(.+)")
        plan.drop(f"{own}/maj@1")
        plan.add(section, f"pass@k and maj@k on {suite}", f"{own}/(pass@\\d+|maj@(?!1$)\\d+)", again=True)
        plan.add(section, f"answers on {suite}", f"{own}/(answered|truncated)")
        plan.hold(f"{own}/(precision|distinct|entropy)")
        plan.rest(section, f"{own}/.+")
    return section


def _exploration(plan: Plan, entries: Entries | None) -> Section:
    """How much can still be found (pass@k, distinct answers, entropy) and how much of it is right (precision, balance)."""
    section = Section("Exploration and exploitation")
    plan.release()
    names = suites(plan.metrics.all)
    curves = [c for c in (pass_at_k(plan.metrics, suite) for suite in names) if c is not None]
    section.charts += curves
    counted = groups(entries) if entries is not None else []
    shown = {"groups solved (share)": ("groups/some", "groups/all", "groups/mixed"), "distinct answers per answer": ("groups/distinct",),
             "reward precision": ("groups/precision",)}
    for title, wanted in shown.items():
        found = [s for s in counted if s.metric in wanted and len(s.points) > 1]
        if found and all(s.constant for s in found):
            section.constant += [(title, s.stage, s.last) for s in {s.last: s for s in found}.values()]
        elif found:
            section.charts.append(chart(title, spread(found, MOST), "in groups of training rollouts"))
    plan.add(section, "entropy in rollouts (nats per token)", "rollout/entropy")
    for suite in names:
        own = f"eval/{re.escape(suite)}"
        plan.add(section, f"precision and distinct answers on {suite}", f"{own}/(precision|distinct)")
        plan.add(section, f"entropy on {suite} (nats per token)", f"{own}/(entropy)")
    plan.add(section, "balance score", r"(?:.+/)?(balance(?:/T=.+)?)")
    if not (section.charts or section.constant or section.brief):
        return section
    here = {s.metric for s in plan.metrics.all}
    section.missing = [word for word, there in (
        ("pass@k for more than one k (more samples per task, or eval.k)", bool(curves)),
        ("entropy", any(m.endswith("/entropy") for m in here)),
        ("distinct answers", bool(counted) or any(m.endswith("/distinct") for m in here)),
        ("reward precision (a verifier that notes answers, tasks with references)", any(s.metric == "groups/precision" for s in counted)),
        ("a balance score (verifier part selfevo.verifiers.Balance)", any(re.search(r"(^|/)balance(/|$)", m) for m in here)),
    ) if not there]  # fmt: skip
    return section


def _rollout(plan: Plan) -> Section:
    section = Section("Rollouts and rewards")
    plan.drop(r"rollout/\w+_tokens|rollout/(trajectories|tasks)|score/rows|score/.+_(errors|timeouts|abstained)")
    plan.add(section, "training reward (mean)", "rollout/reward")
    plan.add(section, "rewards by part (mean)", r"score/(?!keep$)(.+)")
    plan.add(section, "length (tokens)", "rollout/length")
    plan.add(section, "shares of trajectories", r"rollout/(truncated|failed|pruned|error)")
    plan.add(section, "share kept for training", "score/keep")
    plan.rest(section, r"(rollout|score)/.+")
    return section


def _training(plan: Plan) -> Section:
    section = Section("Training")
    plan.drop(r"train/(rows|tokens|steps)")
    plan.add(section, "loss", "train/loss")
    plan.add(section, "KL (nats per token)", r"train/(.+/kl\w*)")
    plan.add(section, "share of clipped ratios", r"train/(.+/clip\w*)")
    plan.add(section, "gap to the sampler's log-probs (nats)", "train/sampler_gap")
    plan.rest(section, r"train/.+")
    return section


def _others(plan: Plan, title: str, prefix: str) -> Section:
    section = Section(title)
    plan.rest(section, f"{re.escape(prefix)}(?:/.+)?")
    return section
