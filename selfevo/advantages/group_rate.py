"""How often a group succeeds, as a column of its rows."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import Over, gather, mean


class GroupRate:
    """q = mean reward of the row's group, cut to [low, high]: the success rate of its prompt where rewards are 0 or 1.

    No advantage by itself but what some objectives weigh rows by (NFT's r_q, Chen et al. 2025, arXiv:2505.18116). Each trajectory counts
    once. One number per sample, float64.

    Args:
        reward: reward in [0, 1].
        by: keys whose values make a group.
        low, high: bounds of the rate, which keep terms in q / (1 - q) finite; 0 and 1 cut nothing.
        over: rows that make up the mean: those that "samples" were built from, or all "rows" that have the reward.
    """

    def __init__(self, reward: str = "score", by: Sequence[str] = ("group",), low: float = 0.0, high: float = 1.0, over: Over = "samples"):
        if not 0 <= low <= high <= 1:
            raise UserError(f"advantages.GroupRate: needs 0 <= low <= high <= 1, got {low} and {high}")
        if over not in ("samples", "rows"):
            raise UserError(f"advantages.GroupRate: over must be 'samples' or 'rows', got {over!r}")
        self.reward, self.by, self.low, self.high, self.over = reward, tuple(by), low, high, over

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the reward or a key, or a reward lies outside [0, 1]."""
        found = gather(samples, rows, self.reward, self.by, self.over, ctx)
        for reward in (r for members in found.members.values() for r in members):
            if not 0 <= reward <= 1:
                raise UserError(f"advantage '{ctx.name}': reward '{self.reward}' is {reward:g}; a rate needs rewards in [0, 1]")
        return [min(self.high, max(self.low, mean(found.members[key]))) for key in found.keys]
