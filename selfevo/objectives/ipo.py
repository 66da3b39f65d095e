"""Identity preference optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .pairs import chosen_minus_rejected, on_both, response_ratio
from .term import BaseTerm, Reduce, check_choice, log_ratio, row_mean

if TYPE_CHECKING:
    from torch import Tensor


class IPO(BaseTerm):
    """l = (h - 1 / (2 beta))^2, h = log-ratio of the chosen minus log-ratio of the rejected response (Azar et al. 2023,
    arXiv:2310.12036, eq. 17, whose tau is our beta). A regression: zero loss at h = 1 / (2 beta), and no drift to infinity.

    Args:
        to: reference policy, "solver@base".
        beta: strength of the KL constraint, above 0.
        ratio: "sum" takes log-ratios of whole responses (the equation); "mean" divides each by its number of tokens, as TRL does.
        coef, where: see `term.BaseTerm`; a `where` column must pick both rows of a pair or neither.
    """

    level: Literal["token", "row", "unit"] = "unit"
    reduce: Reduce = "rows"

    def __init__(self, to: str, beta: Number = 0.1, ratio: Literal["sum", "mean"] = "sum", coef: Number = 1.0, where: str | None = None):
        if isinstance(beta, float | int) and not beta > 0:
            raise UserError(f"IPO: beta is {beta}, expected a number above 0 (the loss has 1 / beta)")
        check_choice("IPO", "ratio", ratio, ("sum", "mean"))
        self.to, self.beta, self.ratio, self.coef, self.where = to, beta, ratio, coef, where
        self.needs = frozenset({f"logp:{to}"})

    def _h(self, batch: Batch) -> Tensor:
        ratio = response_ratio(batch, self.to) if self.ratio == "sum" else row_mean(log_ratio(batch, self.to), batch.mask)
        return chosen_minus_rejected(batch, ratio)

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[U]."""
        return (self._h(batch) - 1 / (2 * batch.value(self.beta))) ** 2

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`margin`: h; `accuracy`: 1 where it is positive."""
        h = self._h(batch)
        return {"margin": on_both(batch, h), "accuracy": on_both(batch, (h > 0).to(h.dtype))}
