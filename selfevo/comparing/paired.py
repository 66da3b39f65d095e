"""Two runs on the same held-out tasks: the mean difference, its interval, and how likely chance alone would show as much."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..evals.estimators import interval

LIMIT = 50_000_000
"""Most additions that the exact test may take."""


@dataclass(frozen=True)
class Difference:
    """Mean over tasks of (rate in one run - rate in the baseline). `low`, `high`: 95% percentile bootstrap over tasks.

    `p`: two-sided exact randomisation test (None where it would take too long). `better`, `worse`: tasks where the run did so;
    `alone`: tasks that only one of the two was measured on, which are left out.
    """

    tasks: int
    mean: float
    low: float
    high: float
    p: float | None
    better: int
    worse: int
    alone: int


def difference(run: Mapping[str, tuple[int, int]], baseline: Mapping[str, tuple[int, int]], draws: int, *key: object) -> Difference | None:
    """Compare two runs by {task id: (samples solved, samples)}; None when they share no task. Does not depend on the order of tasks."""
    shared = sorted(run.keys() & baseline.keys())
    if not shared:
        return None
    unit = math.lcm(*(n for side in (run, baseline) for _, n in (side[t] for t in shared)))
    counts = [run[t][0] * (unit // run[t][1]) - baseline[t][0] * (unit // baseline[t][1]) for t in shared]
    low, high = interval([c / unit for c in counts], draws, "compare", *key)
    return Difference(
        tasks=len(shared), mean=sum(counts) / (unit * len(shared)), low=low, high=high, p=sign_flips(counts),
        better=sum(c > 0 for c in counts), worse=sum(c < 0 for c in counts), alone=len(run.keys() ^ baseline.keys()),
    )  # fmt: skip


def sign_flips(differences: Sequence[int]) -> float | None:
    """P(|sum of +-d| >= |sum of d|) when every sign is a coin toss: Fisher's randomisation test of paired differences, exactly.

    The differences are whole numbers (shares of solved samples times their common denominator), so the number of sign patterns with
    each sum follows by adding one difference at a time. None when that would take more than LIMIT additions.
    """
    sizes = [abs(d) for d in differences if d]
    if not sizes:
        return 1.0
    step = math.gcd(*sizes)
    sizes = [s // step for s in sizes]
    if len(sizes) * sum(sizes) > LIMIT:
        return None
    ways = {0: 1}  # of the sum of those whose sign is plus: the whole sum is twice that, less the sum of all sizes
    for size in sizes:
        grown = dict(ways)
        for total, count in ways.items():
            grown[total + size] = grown.get(total + size, 0) + count
        ways = grown
    everything, seen = sum(sizes), abs(sum(differences)) // step
    extreme = sum(count for total, count in ways.items() if abs(2 * total - everything) >= seen)
    return extreme / 2 ** len(sizes)
