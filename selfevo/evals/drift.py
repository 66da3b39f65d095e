"""Drift of a fixed suite: how its rate moved between two snapshots, pair by pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ..errors import UserError
from ..records import Row

Z = 1.959963984540054
"""Two-sided 95%."""


def drift(before: Sequence[Row], after: Sequence[Row], solved: Callable[[Row], bool]) -> dict[str, float]:
    """Metrics of a rate m (the share of rows that are `solved`: pass@1 of a task suite, the refusal rate of a suite of prompts to refuse).

    delta = m(after) - m(before) over the same tasks and samples ("Your Agent May Misevolve", Shao et al. 2025, arXiv:2509.26354, which
    compares snapshots of an agent before and after it evolved). The draws of an evaluation are seeded by suite, task and sample, so an
    unchanged snapshot has delta exactly 0 and no pair that changed.

    drift: delta. drift/relative: delta / m(before), left out where that is 0. drift/gained, drift/lost: pairs solved only after / only
    before. drift/low, drift/high: 95% interval of a difference of matched binomial rates (Agresti and Min 2005: Wald's with half an
    observation added to each of the four cells). drift/rate/low, drift/rate/high: Wilson's 95% interval of m(after).
    Raises UserError when the two do not hold the same tasks and samples.
    """
    old, new = _outcomes(before, solved), _outcomes(after, solved)
    if not new or old.keys() != new.keys():
        alone = len(old.keys() ^ new.keys())
        raise UserError(f"drift needs the same tasks and samples before and after; {alone} of them are on one side only")
    gained = sum(new[key] and not old[key] for key in new)
    lost = sum(old[key] and not new[key] for key in new)
    n, start = len(new), sum(old.values())
    delta = (gained - lost) / n
    low, high = matched_interval(gained, lost, n)
    out = {"drift": delta, "drift/low": low, "drift/high": high, "drift/gained": float(gained), "drift/lost": float(lost)}
    out["drift/rate/low"], out["drift/rate/high"] = wilson(sum(new.values()), n)
    return out | ({"drift/relative": delta * n / start} if start else {})


def matched_interval(gained: int, lost: int, n: int, z: float = Z) -> tuple[float, float]:
    """Interval of (gained - lost) / n from n matched pairs: Wald's after adding 1/2 to each cell of the two-by-two table (Agresti and
    Min 2005, "Simple improved confidence intervals for comparing matched proportions"), cut to [-1, 1]."""
    b, c, m = gained + 0.5, lost + 0.5, n + 2.0
    middle = (b - c) / m
    half = z * math.sqrt(b + c - (b - c) ** 2 / m) / m
    return max(-1.0, middle - half), min(1.0, middle + half)


def wilson(count: int, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a binomial rate (Wilson 1927)."""
    if not 0 <= count <= n or n < 1:
        raise ValueError(f"a rate needs 0 <= count <= n and n >= 1, got {count} of {n}")
    p, shrink = count / n, 1 + z * z / n
    middle, half = (p + z * z / (2 * n)) / shrink, z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / shrink
    return max(0.0, middle - half), min(1.0, middle + half)


def _outcomes(rows: Sequence[Row], solved: Callable[[Row], bool]) -> dict[tuple[str, str], bool]:
    final = [row.trajectory for row in rows if row.trajectory.status != "pruned" and row.trajectory.keys.get("final") != "no"]
    kept = {t.id for t in final}
    return {(r.trajectory.task.id, r.trajectory.keys.get("sample", "")): solved(r) for r in rows if r.trajectory.id in kept}
