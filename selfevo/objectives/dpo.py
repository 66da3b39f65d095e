"""Direct preference optimisation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .pairs import chosen_minus_rejected, on_both, response_ratio
from .term import BaseTerm, Reduce, check_number

if TYPE_CHECKING:
    from torch import Tensor


class DPO(BaseTerm):
    """l = -log sigmoid(beta h), h = log-ratio of the chosen minus log-ratio of the rejected response, log-ratio = log pi_theta / pi_to.

    Rafailov et al. 2023 (arXiv:2305.18290), eq. 7. With label smoothing e, l = -(1 - e) log sigmoid(beta h) - e log sigmoid(-beta h)
    (Mitchell 2023, "A note on DPO with noisy preferences", eq. 3). At equal policies l = ln 2 and its gradient in h is -beta (1/2 - e).

    Args:
        to: reference policy, "solver@base".
        beta: strength of the KL constraint; smaller lets the policy go further.
        label_smoothing: assumed chance that a pair is the wrong way round, in [0, 1/2).
        smoothing: column of such chances, one per pair, in [0, 1/2] (both rows of a pair have the same), in place of that number.
        coef, where: see `term.BaseTerm`; a `where` column must pick both rows of a pair or neither.
    """

    level: Literal["token", "row", "unit"] = "unit"
    reduce: Reduce = "rows"

    def __init__(self, to: str, beta: Number = 0.1, label_smoothing: float = 0.0, coef: Number = 1.0, where: str | None = None,
                 smoothing: str | None = None):  # fmt: skip
        check_number("DPO", "beta", beta)
        if not 0 <= label_smoothing < 0.5:
            raise UserError(f"DPO: label_smoothing is {label_smoothing}, expected a number in [0, 0.5)")
        if smoothing is not None and label_smoothing:
            raise UserError("DPO: give either label_smoothing, a number, or smoothing, a column")
        self.smoothing = smoothing
        self.to, self.beta, self.label_smoothing, self.coef, self.where = to, beta, label_smoothing, coef, where
        self.needs = frozenset({f"logp:{to}"})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[U]."""
        from torch.nn.functional import logsigmoid

        z = batch.value(self.beta) * chosen_minus_rejected(batch, response_ratio(batch, self.to))
        e = self.label_smoothing if self.smoothing is None else batch.row(self.smoothing)[batch.units()[:, 0]]
        return -(1 - e) * logsigmoid(z) - e * logsigmoid(-z)

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`margin`: beta h; `accuracy`: 1 where the chosen response has the larger implicit reward."""
        margin = batch.value(self.beta) * chosen_minus_rejected(batch, response_ratio(batch, self.to))
        return {"margin": on_both(batch, margin), "accuracy": on_both(batch, (margin > 0).to(margin.dtype))}
