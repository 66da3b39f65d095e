"""Each reward against the mean of the others in its group."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import Over, gather


class LeaveOneOut:
    """A_i = r_i - mean of r_j over j != i in the group: RLOO (Kool et al. 2019; Ahmadian et al. 2024, arXiv:2402.14740, section 2).

    Equal to n / (n - 1) times `GroupNorm(std="none")`, and unbiased, since no reward is in its own baseline. A group of equal rewards
    has advantage exactly 0; a group of one has `singleton`. One number per sample.

    Args:
        reward: reward that is compared.
        by: keys whose values make a group.
        singleton: advantage of a group of one.
        over: rows that make up the baseline: those that "samples" were built from, or all "rows" that have the reward.
    """

    def __init__(self, reward: str = "score", by: Sequence[str] = ("group",), singleton: float = 0.0, over: Over = "samples"):
        if over not in ("samples", "rows"):
            raise UserError(f"advantages.LeaveOneOut: over must be 'samples' or 'rows', got {over!r}")
        self.reward, self.by, self.singleton, self.over = reward, tuple(by), singleton, over

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the reward or a key."""
        found = gather(samples, rows, self.reward, self.by, self.over, ctx)
        return [self._advantage(r, found.members[k]) for r, k in zip(found.rewards, found.keys, strict=True)]

    def _advantage(self, reward: float, group: Sequence[float]) -> float:
        if len(group) == 1:
            return self.singleton
        if min(group) == max(group):
            return 0.0
        return reward - math.fsum([*group, -reward]) / (len(group) - 1)
