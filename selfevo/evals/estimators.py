"""Exact estimators over the samples of one task, and the bootstrap over tasks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from math import comb

from ..seeds import rng


def pass_at_k(n: int, c: int, k: int) -> float:
    """Unbiased estimate of the chance that at least one of k samples is right, from n samples of which c are.

    1 - C(n-c, k) / C(n, k) as the product 1 - prod_{i=n-c+1}^{n} (1 - k/i) (Chen et al. 2021, "Evaluating Large Language Models
    Trained on Code", eq. 1). Raises ValueError unless 1 <= k <= n and 0 <= c <= n.
    """
    if not (1 <= k <= n and 0 <= c <= n):
        raise ValueError(f"pass@k needs 1 <= k <= n and 0 <= c <= n, got n={n}, c={c}, k={k}")
    if n - c < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / i for i in range(n - c + 1, n + 1))


def maj_at_k(answers: Sequence[str | None], right: Sequence[bool], k: int) -> float:
    """Chance that the most frequent answer of k samples is right, over all k-subsets of the n samples given: exact.

    A tie is broken uniformly among the tied answers. None (no answer) does not vote; a subset without answers is wrong.
    Samples with equal answers should be judged alike; where they are not, an answer is right to the share of its samples that are.

    For an answer that c samples gave, the subsets in which it wins with v votes number C(c, v) times the ways to fill the other
    k - v places so that no other answer exceeds v; with t others at exactly v it wins 1/(t+1) of them. Cost is polynomial in n, so
    nothing is sampled.
    """
    n = len(answers)
    if not 1 <= k <= n or len(right) != n:
        raise ValueError(f"maj@k needs 1 <= k <= n and a judgement per answer, got n={n}, k={k}, {len(right)} judgements")
    counts: dict[str, int] = {}
    hits: dict[str, int] = {}
    for answer, ok in zip(answers, right, strict=True):
        if answer is not None:
            counts[answer] = counts.get(answer, 0) + 1
            hits[answer] = hits.get(answer, 0) + bool(ok)
    silent = n - sum(counts.values())
    won = 0.0
    for answer, c in counts.items():
        if hits[answer]:
            others = sorted(m for a, m in counts.items() if a != answer)
            won += hits[answer] / c * math.fsum(comb(c, v) * _wins(others, silent, v, k - v) for v in range(1, min(c, k) + 1))
    return min(1.0, won / comb(n, k))


def plurality(answers: Sequence[str | None], right: Sequence[bool]) -> float:
    """Chance that the most frequent of all answers is right, ties broken uniformly: `maj_at_k` with k = n, at any size. 0 where nobody
    answered."""
    hits: dict[str, list[bool]] = {}
    for answer, ok in zip(answers, right, strict=True):
        if answer is not None:
            hits.setdefault(answer, []).append(bool(ok))
    most = max(map(len, hits.values()), default=0)
    tied = [sum(h) / most for h in hits.values() if len(h) == most]
    return sum(tied) / len(tied) if tied else 0.0


def _wins(others: Sequence[int], silent: int, v: int, places: int) -> float:
    """Ways to fill `places` from other answers (`others` counts, at most v each) and silent samples, each weighted 1/(1 + number at v)."""
    if not others or v > max(others):
        return float(comb(sum(others) + silent, places))
    ways: dict[tuple[int, int], int] = {(0, 0): 1}  # (places filled, answers at exactly v) -> number of ways
    for m in others:
        grown: dict[tuple[int, int], int] = {}
        for (filled, ties), w in ways.items():
            for take in range(min(m, v, places - filled) + 1):
                at = (filled + take, ties + (take == v))
                grown[at] = grown.get(at, 0) + w * comb(m, take)
        ways = grown
    return math.fsum(w * comb(silent, places - filled) / (ties + 1) for (filled, ties), w in ways.items())


def interval(values: Sequence[float], draws: int, *key: object, level: float = 0.95) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values` (one per task), by `draws` resamples seeded with `key`.

    Values are sorted first, so the interval does not depend on the order of tasks; constant values give a point.
    """
    if not values or draws < 1:
        raise ValueError(f"a bootstrap needs values and at least one draw, got {len(values)} and {draws}")
    ordered = sorted(values)
    if ordered[0] == ordered[-1]:
        return ordered[0], ordered[0]
    random = rng("bootstrap", *key)
    n = len(ordered)
    means = sorted(math.fsum(random.choices(ordered, k=n)) / n for _ in range(draws))
    return quantile(means, (1 - level) / 2), quantile(means, (1 + level) / 2)


def quantile(ordered: Sequence[float], q: float) -> float:
    """The q-quantile of ascending values, linear between neighbours (Hyndman and Fan's type 7)."""
    at = q * (len(ordered) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])
