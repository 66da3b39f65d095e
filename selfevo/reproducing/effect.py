"""From finished runs to an effect: both sides read at equal cost, the difference of each seed, its interval over seeds, a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Literal

from ..comparing.speed import Point, curve, generated, spent
from ..comparing.student import over_seeds
from ..errors import UserError, nearest
from ..report.read import RunData
from ..spec.reproduction import Reproduction

Verdict = Literal["shown", "not shown", "opposite"]


@dataclass(frozen=True)
class Side:
    """One run: its metric at the common cost and at its own end, tokens and seconds it spent in all, and the curve (tokens, value)."""

    value: float
    final: float
    tokens: float
    seconds: float
    curve: tuple[tuple[float, float], ...] = ()


@dataclass(frozen=True)
class Pair:
    """One seed: both sides, and the tokens at which they were read."""

    seed: int
    at: float
    method: Side
    baseline: Side


@dataclass(frozen=True)
class Effect:
    """Mean over seeds of method minus baseline, turned so that more is better, with its 95% Student interval over seeds."""

    mean: float
    low: float
    high: float
    verdict: Verdict


def pair(block: Reproduction, seed: int, method: RunData, baseline: RunData) -> Pair:
    """Read one seed's two runs at the cost of the cheaper one. Raises UserError where a run did not log the metric."""
    points = [_points(run, block) for run in (method, baseline)]
    at = min(p[-1].tokens for p in points)
    sides = [
        Side(read(p, at), p[-1].value, p[-1].tokens, spent(run).seconds, tuple((q.tokens, q.value) for q in p))
        for p, run in zip(points, (method, baseline), strict=True)
    ]
    return Pair(seed, at, *sides)


def _points(run: RunData, block: Reproduction) -> list[Point]:
    points = curve(run, block.metric)
    if not points:
        known = sorted({name for line in run.lines for name in line.metrics})
        raise UserError(f"{run.root}: no stage logged '{block.metric}'{nearest(block.metric, known)}")
    if block.cost == "training":
        return points
    last = next(line for line in reversed(run.lines) if block.metric in line.metrics)
    return [Point(generated(last), last.seconds, points[-1].value)]


def read(points: Sequence[Point], tokens: float) -> float:
    """A curve's value at a cost: linear between the evaluations around it, so that neither side gains by when it was evaluated."""
    before = [p for p in points if p.tokens <= tokens]
    after = [p for p in points if p.tokens > tokens]
    if not after or not before:
        return before[-1].value if before else after[0].value
    left, right = before[-1], after[0]
    return left.value + (right.value - left.value) * (tokens - left.tokens) / (right.tokens - left.tokens)


def effect(pairs: Sequence[Pair], better: Literal["higher", "lower"]) -> Effect:
    """The effect over seeds. Raises UserError for fewer than two, which have no interval, and where all seeds differ by the same: then the
    seed reaches nothing that is compared, and an interval of no width would lie."""
    if len(pairs) < 2:
        raise UserError(f"an effect needs at least 2 seeds for its interval, not {len(pairs)}")
    sign = 1.0 if better == "higher" else -1.0
    differences = [sign * (p.method.value - p.baseline.value) for p in pairs]
    mean = fmean(differences)
    if mean and len(set(differences)) == 1:
        raise UserError(f"every seed gave the same difference ({mean:+.3f}): the seed does not reach what is compared")
    over = over_seeds(differences)
    assert over is not None and over.low is not None and over.high is not None
    low, high = over.low, over.high
    verdict: Verdict = "shown" if low > 0 else "opposite" if high < 0 else "not shown"
    return Effect(mean, low, high, verdict)
