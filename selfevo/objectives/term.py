"""What the terms of an objective share: defaults for the parts of `protocols.Term` that most of them leave alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal, cast

from ..errors import UserError, nearest
from ..protocols import Batch, Number

if TYPE_CHECKING:
    from torch import Tensor

Reduce = Literal["tokens", "rows", "constant", "sum"]
"""How a term's unreduced loss l [B, T] with mask m becomes a number, over the N rows of the whole optimizer mini-batch:
tokens: sum(l m) / sum(m) (DAPO, SFT); rows: mean over rows of sum_t(l m) / sum_t(m) (GRPO);
constant: sum(l m) / (N * length) (Dr. GRPO); sum: sum(l m)."""


class BaseTerm:
    """A term with no needs and no statistics. Subclasses set `needs`, `reduce`, `coef` in their constructor and write `loss`."""

    needs: frozenset[str] = frozenset()
    level: Literal["token", "row", "unit"] = "token"
    reduce: Reduce = "tokens"
    coef: Number = 1.0
    length: float | None = None
    """Divisor per row of `reduce: constant`, in tokens."""
    where: str | None = None
    """Column of 0 and 1 that picks the rows or tokens the term applies to: its mask, and so its denominators, count only those."""

    def stats(self, batch: Batch) -> Mapping[str, Tensor]:
        """Nothing over the whole mini-batch is needed."""
        return {}

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """Unreduced loss, lower is better."""
        raise NotImplementedError

    def silent(self, batch: Batch) -> Tensor | None:
        """[B] True where the gradient of the row is exactly zero whatever the weights are. Reads columns only. None: nowhere."""
        return None

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """Detached [B, T] or [B] values whose masked mean is logged as "train/<term>/<name>"."""
        return {}


def check_reduce(term: str, reduce: str, length: float | None) -> None:
    """Raise UserError for an unknown reduction, or a `length` that is missing, not positive or not used."""
    valid = ("tokens", "rows", "constant", "sum")
    if reduce not in valid:
        raise UserError(f"{term}: reduce is '{reduce}'{nearest(reduce, valid)}")
    if reduce == "constant" and length is None:
        raise UserError(f"{term}: reduce: constant divides by rows x length, so length (tokens) must be given")
    if reduce != "constant" and length is not None:
        raise UserError(f"{term}: length is {length} but only reduce: constant uses it (reduce is '{reduce}')")
    if length is not None and length <= 0:
        raise UserError(f"{term}: length is {length}, expected a positive number of tokens")


def check_choice(term: str, name: str, value: str, valid: tuple[str, ...]) -> None:
    """Raise UserError when a setting is none of its values."""
    if value not in valid:
        raise UserError(f"{term}: {name} is '{value}'{nearest(value, valid)}")


def check_number(term: str, name: str, value: Number | None, low: float = 0.0) -> None:
    """Raise UserError for a constant below `low`; a varying number is checked when it is read."""
    if isinstance(value, (int, float)) and not value >= low:
        raise UserError(f"{term}: {name} is {value}, expected at least {low:g}")


def needed(batch: Batch, name: str) -> Tensor:
    """A need that is one tensor, [B, T]."""
    return cast("Tensor", batch.need(name))


def needed_parts(batch: Batch, name: str) -> Mapping[str, Tensor]:
    """A need that has named parts ("full:...", "topk:...")."""
    return cast("Mapping[str, Tensor]", batch.need(name))


def log_ratio(batch: Batch, old: str) -> Tensor:
    """[B, T] log pi_theta - log pi_old, zero where the mask is: a masked token can neither overflow nor clip."""
    import torch

    return torch.where(batch.mask != 0, batch.logp - needed(batch, f"logp:{old}"), 0.0)


def row_mean(values: Tensor, mask: Tensor) -> Tensor:
    """[B] mean of `values` [B, T] over the tokens of each row that count; 0 for a row with none."""
    total = mask.sum(1)
    return (values * mask).sum(1) / total.masked_fill(total == 0, 1.0)


def zero_column(batch: Batch, name: str) -> Tensor:
    """[B] True where a column is zero on every token that counts."""
    return ((batch.column(name) * batch.mask) == 0).all(1)
