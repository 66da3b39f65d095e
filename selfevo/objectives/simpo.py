"""Simple preference optimisation, without a reference policy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..protocols import Batch, Number
from .pairs import chosen_minus_rejected, on_both
from .term import BaseTerm, Reduce, check_number, row_mean

if TYPE_CHECKING:
    from torch import Tensor


class SimPO(BaseTerm):
    """l = -log sigmoid(beta h - gamma), h = mean log-prob per token of the chosen minus that of the rejected response.

    Meng et al. 2024 (arXiv:2405.14734), eq. 6. No reference policy is loaded. TRL's `simpo_gamma` is this gamma.

    Args:
        beta: scale of the implicit reward.
        gamma: target margin between the rewards.
        coef, where: see `term.BaseTerm`; a `where` column must pick both rows of a pair or neither.
    """

    level: Literal["token", "row", "unit"] = "unit"
    reduce: Reduce = "rows"

    def __init__(self, beta: Number = 2.0, gamma: Number = 1.0, coef: Number = 1.0, where: str | None = None):
        check_number("SimPO", "beta", beta)
        check_number("SimPO", "gamma", gamma)
        self.beta, self.gamma, self.coef, self.where = beta, gamma, coef, where

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[U]."""
        from torch.nn.functional import logsigmoid

        h = chosen_minus_rejected(batch, row_mean(batch.logp, batch.mask))
        return -logsigmoid(batch.value(self.beta) * h - batch.value(self.gamma))

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`margin`: beta h; `accuracy`: 1 where the chosen response is the likelier per token."""
        margin = batch.value(self.beta) * chosen_minus_rejected(batch, row_mean(batch.logp, batch.mask))
        return {"margin": on_both(batch, margin), "accuracy": on_both(batch, (margin > 0).to(margin.dtype))}
