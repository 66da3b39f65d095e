"""Denominators and sums: the only place where an unreduced loss becomes a number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from .batch import TermBatch


def denominator(name: str, term: Any, batch: TermBatch) -> float:
    """What a term's summed loss is divided by, from the whole optimizer mini-batch (see `objectives.term.Reduce`).

    1 where nothing counts, so that an empty mask gives a loss of 0 and not NaN.
    """
    if term.reduce == "sum":
        total = 1.0
    elif term.reduce == "tokens":
        if term.level != "token":
            raise UserError(f"objective.{name}: reduce: tokens needs a loss per token, but {type(term).__name__}'s is per {term.level}")
        total = float(batch.mask.sum())
    else:
        items = batch.units().shape[0] if term.level == "unit" else batch.size
        total = float(items) * (float(term.length) if term.reduce == "constant" else 1.0)
    return total if total > 0 else 1.0


def summed(term: Any, loss: Tensor, mask: Tensor) -> Tensor:
    """The micro-batch's part of the numerator. Positions with mask 0 are left out, whatever is there."""
    if term.level != "token":
        return loss.sum()
    masked = torch.where(mask != 0, loss, 0.0) * mask
    if term.reduce != "rows":
        return masked.sum()
    per_row = mask.sum(1)
    return (masked.sum(1) / per_row.masked_fill(per_row == 0, 1.0)).sum()
