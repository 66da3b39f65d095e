"""What the preference terms share: log-probs of whole responses, and the two rows of a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import UserError
from ..protocols import Batch
from .term import log_ratio

if TYPE_CHECKING:
    from torch import Tensor


def response_ratio(batch: Batch, to: str) -> Tensor:
    """[B] log pi_theta(y|x) - log pi_to(y|x), summed over the tokens that count."""
    return (log_ratio(batch, to) * batch.mask).sum(1)


def chosen_minus_rejected(batch: Batch, values: Tensor) -> Tensor:
    """[U] of `values` [B]: the row at place 0 minus the row at place 1. Raises UserError where units are no pairs."""
    units = batch.units()
    if units.shape[0] and units.shape[1] != 2:
        raise UserError(
            f"a preference term needs units of two rows (chosen, rejected), got {units.shape[1]}: build them with samples.Pairs"
        )
    return values[units[:, 0]] - values[units[:, 1]] if units.shape[0] else values[:0]


def on_both(batch: Batch, values: Tensor) -> Tensor:
    """[B] from [U]: each unit's value on its two rows, detached."""
    import torch

    units = batch.units()
    out = torch.zeros(batch.size, dtype=values.dtype, device=values.device)
    if units.shape[0]:
        out[units[:, 0]] = out[units[:, 1]] = values.detach()
    return out
