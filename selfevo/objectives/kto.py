"""Kahneman-Tversky optimisation: single responses labelled good or bad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..protocols import Batch, Number
from .pairs import response_ratio
from .term import BaseTerm, Reduce, check_number

if TYPE_CHECKING:
    from torch import Tensor


class KTO(BaseTerm):
    """l = w (1 - v), where v = sigmoid(beta (R - z0)), w = desirable for label +1; v = sigmoid(beta (z0 - R)), w = undesirable for -1.

    R = log pi_theta(y|x) - log pi_to(y|x). Ethayarajh et al. 2024 (arXiv:2402.01306), eq. 8. The reference point z0 is the mean of R over
    the mini-batch's mismatched rows (column `kl` = 1), at least 0 and without gradient; 0 when there are none. Rows come from
    `samples.Labelled`. The loss of the mismatched rows is 0 and the others' is scaled by rows / labelled rows, so that the mean over
    rows is the mean over labelled ones. At equal policies l = w / 2.

    Args:
        to: reference policy, "solver@base".
        beta: risk aversion; strength of the KL constraint.
        desirable: weight of desirable rows. The paper keeps desirable x their number within 1 to 4/3 of undesirable x theirs.
        undesirable: weight of undesirable rows.
        coef, where: see `term.BaseTerm`.
    """

    level: Literal["token", "row", "unit"] = "row"
    reduce: Reduce = "rows"

    def __init__(
        self,
        to: str,
        beta: Number = 0.1,
        desirable: Number = 1.0,
        undesirable: Number = 1.0,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_number("KTO", "beta", beta)
        check_number("KTO", "desirable", desirable)
        check_number("KTO", "undesirable", undesirable)
        self.to, self.beta, self.desirable, self.undesirable, self.coef, self.where = to, beta, desirable, undesirable, coef, where
        self.needs = frozenset({f"logp:{to}"})

    def stats(self, batch: Batch) -> Mapping[str, Tensor]:
        """`z0`: the reference point; `scale`: rows / labelled rows."""
        R, twin = response_ratio(batch, self.to).detach(), batch.row("kl")
        labelled = (batch.row("label") != 0).sum().clamp(min=1)
        return {"z0": ((R * twin).sum() / twin.sum().clamp(min=1)).clamp(min=0), "scale": batch.size / labelled.to(R.dtype)}

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B]."""
        import torch

        label = batch.row("label")
        v = torch.sigmoid(batch.value(self.beta) * label * (response_ratio(batch, self.to) - stats["z0"]))
        w = batch.value(self.desirable) * (label > 0) + batch.value(self.undesirable) * (label < 0)
        return stats["scale"] * w * (1 - v)

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`reward`: beta R of labelled rows, signed by their label (0 on the others)."""
        return {"reward": batch.value(self.beta) * (batch.row("label") * response_ratio(batch, self.to)).detach()}
