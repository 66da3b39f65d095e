"""Rewards compared within a group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import Over, deviation, gather, mean


class GroupNorm:
    r"""A_i = (r_i - mean(r)) / (std(r) + eps) over the rows of a group: GRPO (Shao et al. 2024, arXiv:2402.03300, section 4.1.2).

    `std: none` leaves the division out: Dr. GRPO (Liu et al. 2025, arXiv:2503.20783, section 3.2). A group whose rewards are all
    equal has advantage exactly 0, whatever eps is; a group of one has `singleton`. One number per sample, float64. Adding a constant
    to all rewards of a group changes nothing; with one sample per row they sum to 0 over the group.

    Args:
        reward: reward that is compared.
        by: keys whose values make a group ("group" is the task unless the rollout says otherwise).
        std: "sample" (divides by n - 1; torch and most GRPO code), "population" (by n), or "none".
        eps: added to the standard deviation (1e-4 in TRL, 1e-6 in verl; the paper has none).
        singleton: advantage of a group of one, which has nothing to be compared with.
        over: rows that make up mean and deviation: those that "samples" were built from, or all "rows" that have the reward.
    """

    def __init__(
        self,
        reward: str = "score",
        by: Sequence[str] = ("group",),
        std: Literal["none", "population", "sample"] = "sample",
        eps: float = 1e-6,
        singleton: float = 0.0,
        over: Over = "samples",
    ):
        if std not in ("none", "population", "sample"):
            raise UserError(f"advantages.GroupNorm: std must be 'none', 'population' or 'sample', got {std!r}")
        if eps < 0:
            raise UserError(f"advantages.GroupNorm: eps must not be negative, got {eps}")
        if over not in ("samples", "rows"):
            raise UserError(f"advantages.GroupNorm: over must be 'samples' or 'rows', got {over!r}")
        self.reward, self.by, self.std, self.eps, self.singleton, self.over = reward, tuple(by), std, eps, singleton, over

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the reward or a key."""
        found = gather(samples, rows, self.reward, self.by, self.over, ctx)
        return [self._advantage(r, found.members[k]) for r, k in zip(found.rewards, found.keys, strict=True)]

    def _advantage(self, reward: float, group: Sequence[float]) -> float:
        if len(group) == 1:
            return self.singleton
        if min(group) == max(group):
            return 0.0
        centred = reward - mean(group)
        return centred if self.std == "none" else centred / (deviation(group, self.std) + self.eps)
