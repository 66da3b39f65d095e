"""CISPO: the importance weight is clipped, the gradient of no token is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_number, check_reduce, log_ratio, zero_column

if TYPE_CHECKING:
    from torch import Tensor


class Cispo(BaseTerm):
    """l = -sg(clip(r, 1 - low, 1 + high)) A log pi_theta (MiniMax-M1 2025, eq. 4-5), with r = pi_theta / pi_old per token.

    Args:
        advantage: column with A.
        old: as in `ClippedRatio`.
        low: clip below 1; None (the paper's setting) for no lower bound.
        high: clip above 1, so that the weight is at most 1 + high.
        reduce, length, coef, where: see `term.BaseTerm`; the paper divides by the tokens of the group.
    """

    def __init__(
        self,
        advantage: str,
        old: str = "sampler",
        low: Number | None = None,
        high: Number = 4.0,
        reduce: Reduce = "tokens",
        length: float | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_reduce("Cispo", reduce, length)
        check_number("Cispo", "low", low)
        check_number("Cispo", "high", high)
        self.advantage, self.old, self.low, self.high = advantage, old, low, high
        self.reduce, self.length, self.coef, self.where = reduce, length, coef, where
        self.needs = frozenset({f"logp:{old}"})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        low = None if self.low is None else 1 - batch.value(self.low)
        weight = log_ratio(batch, self.old).detach().exp().clamp(min=low, max=1 + batch.value(self.high))
        return -weight * batch.column(self.advantage) * batch.logp

    def silent(self, batch: Batch) -> Tensor:
        """Rows whose advantage is zero everywhere."""
        return zero_column(batch, self.advantage)

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ratio`; `clipped`: 1 where the weight was bounded from above."""
        r = log_ratio(batch, self.old).exp()
        return {"ratio": r, "clipped": (r > 1 + batch.value(self.high)).float()}
