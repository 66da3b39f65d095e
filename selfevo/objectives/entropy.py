"""Entropy of the policy as a term of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_reduce, needed

if TYPE_CHECKING:
    from torch import Tensor


class Entropy(BaseTerm):
    """Bonus for entropy: l = -H(pi_theta(. | prefix)), H = -sum_v pi(v) log pi(v), in nats at the row's temperature.

    A3C (Mnih et al. 2016, section 4), PPO (Schulman et al. 2017, eq. 9). A negative `coef` punishes entropy instead
    (entropy minimisation).

    Args:
        coef: weight of the bonus.
        reduce, length, where: see `term.BaseTerm`.
    """

    def __init__(self, coef: Number = 0.01, reduce: Reduce = "tokens", length: float | None = None, where: str | None = None):
        check_reduce("Entropy", reduce, length)
        self.coef, self.reduce, self.length, self.where = coef, reduce, length, where
        self.needs = frozenset({"entropy"})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        return -needed(batch, "entropy")
