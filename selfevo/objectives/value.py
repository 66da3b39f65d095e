"""The critic's regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_number, check_reduce, needed

if TYPE_CHECKING:
    from torch import Tensor


class ValueLoss(BaseTerm):
    """Half squared error of the value head, clipped around the values it had at the start of the update.

    l = max((V - R)^2, (V_old + clip(V - V_old, -c, c) - R)^2) / 2 (Schulman et al. 2017, section 5; the clip is from its released
    code). Needs `value_head: true` of the learner, which also gives every sample the column `value`, V_old.

    Args:
        returns: column with R per token (from `Gae`'s twin `Returns`).
        clip: c, or None for the plain squared error.
        coef, reduce, length, where: see `term.BaseTerm`.
    """

    def __init__(
        self,
        returns: str = "returns",
        clip: Number | None = 0.2,
        coef: Number = 1.0,
        reduce: Reduce = "tokens",
        length: float | None = None,
        where: str | None = None,
    ):
        check_reduce("ValueLoss", reduce, length)
        check_number("ValueLoss", "clip", clip)
        self.returns, self.clip, self.coef, self.reduce, self.length, self.where = returns, clip, coef, reduce, length, where
        self.needs = frozenset({"value"})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        import torch

        V, R = needed(batch, "value"), batch.column(self.returns)
        error = (V - R).square()
        if self.clip is not None:
            c, old = batch.value(self.clip), batch.column("value")
            error = torch.maximum(error, (old + (V - old).clamp(-c, c) - R).square())
        return error / 2

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`value` and the signed `error` V - R."""
        V = needed(batch, "value")
        return {"value": V, "error": V - batch.column(self.returns)}
