"""The reward itself."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from .common import reward_of


class Raw:
    """A_i = r_i - baseline: REINFORCE (Williams 1992) with a constant baseline. One number per sample.

    Args:
        reward: reward that is read.
        baseline: what is taken off every reward.
    """

    def __init__(self, reward: str = "score", baseline: Number = 0.0):
        self.reward, self.baseline = reward, baseline

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the reward."""
        baseline = ctx.value(self.baseline)
        return [reward_of(rows[s.row], self.reward, ctx) - baseline for s in samples]
