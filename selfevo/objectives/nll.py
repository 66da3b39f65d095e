"""Maximum likelihood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_reduce, zero_column

if TYPE_CHECKING:
    from torch import Tensor


class NLL(BaseTerm):
    """Cross-entropy of the response, l = -w log pi_theta(token): supervised fine-tuning, rejection fine-tuning.

    Reads log-probs at the sample's `temperature`; builders of data that no policy sampled leave that column out (1).

    Args:
        weight: column with w, or None for 1. The denominator counts tokens, not weights.
        reduce, length, coef, where: see `term.BaseTerm`. reduce tokens is the mean cross-entropy that SFT trainers report.
    """

    def __init__(
        self,
        weight: str | None = None,
        reduce: Reduce = "tokens",
        length: float | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_reduce("NLL", reduce, length)
        self.weight, self.reduce, self.length, self.coef, self.where = weight, reduce, length, coef, where

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        return -batch.logp if self.weight is None else -batch.column(self.weight) * batch.logp

    def silent(self, batch: Batch) -> Tensor | None:
        """Rows whose weight is zero everywhere."""
        return None if self.weight is None else zero_column(batch, self.weight)
