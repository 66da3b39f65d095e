"""Several policies on one suite: each alone, and their vote."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations

from ..records import Row, groups
from ..verifiers.answers import Extract, answer_of
from ..verifiers.collective_vote import Ballots, Weight, by_voter, elect
from .estimators import plurality


class Collective:
    """What the roles of a suite can do alone and together (RLCCF, 2025, arXiv:2508.12338).

    `pass@1/role=a`: of one role. `vote`: accuracy of the most frequent answer of all roles; `vote/weighted`: of the answer that
    `verifiers.CollectiveVote` would choose; ties are broken uniformly in both (exact expectation). `consistency`: CC, the winner's share
    of all weighted votes. `error_correlation`: Pearson correlation of two roles' accuracies over the tasks, mean over pairs; near 1 a vote
    adds nothing. Means over tasks; nan where undefined.

    Args:
        voter: key that tells the policies apart.
        weight, ballots, cap: as in `CollectiveVote`.
    """

    def __init__(self, voter: str = "role", weight: Weight = "consistency", ballots: Ballots = "answers", cap: float = 1.0):
        self.voter, self.weight, self.ballots, self.cap = voter, weight, ballots, cap

    def __call__(self, rows: Sequence[Row], solved: Callable[[Row], bool]) -> Mapping[str, float]:
        """Numbers that do not depend on the order of rows."""
        extract, tasks = Extract(), groups(rows, ["task"])
        rates: dict[str, list[float]] = {}
        plain, weighted, shares = [], [], []
        for key in sorted(tasks):
            mine = tasks[key]
            judged = [(answer_of(row, extract), solved(row)) for row in mine]
            plain.append(plurality([a for a, _ in judged], [r for _, r in judged]))
            votes = by_voter((row.key(self.voter)[0], a) for row, (a, _) in zip(mine, judged, strict=True))
            held = elect(votes, self.weight, self.ballots, self.cap)
            won = held.winners
            weighted.append(mean([mean([r for a, r in judged if a == w]) for w in won]) if won else 0.0)
            shares.append(float(held.share(won[0])) if won else 0.0)
            for (voter,), own in groups(mine, [self.voter]).items():
                rates.setdefault(voter, []).append(mean([solved(row) for row in own]))
        out = {f"pass@1/{self.voter}={voter}": mean(own) for voter, own in sorted(rates.items())}
        pairs = [correlation(a, b) for a, b in combinations(rates.values(), 2) if len(a) == len(b)]
        return {**out, "vote": mean(plain), "vote/weighted": mean(weighted), "consistency": mean(shares), "error_correlation": mean(pairs)}


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean, nan of none."""
    return math.fsum(values) / len(values) if values else math.nan


def correlation(a: Sequence[float], b: Sequence[float]) -> float:
    """Pearson's; nan where one of them does not vary."""
    x, y = [v - mean(a) for v in a], [v - mean(b) for v in b]
    scale = math.sqrt(math.fsum(v * v for v in x) * math.fsum(v * v for v in y))
    return math.fsum(p * q for p, q in zip(x, y, strict=True)) / scale if scale else math.nan
