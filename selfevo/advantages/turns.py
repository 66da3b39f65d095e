"""Columns that discount by turn, and that pick rows with something to learn."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError, nearest
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from ..samples.common import key_of


class Decay:
    """gamma ** n, n a whole number among the row's keys: with "left", the turns that follow, A_k = gamma^(K - 1 - k) A (SPIRAL: Liu et al.
    2025, arXiv:2506.24119). A weight, not an advantage (see `Times`). One number per sample; gamma 0 keeps the last turn alone.

    Args:
        gamma: in [0, 1].
        key: the key with n.
    """

    def __init__(self, gamma: Number, key: str = "left"):
        if isinstance(gamma, (int, float)) and not 0 <= gamma <= 1:
            raise UserError(f"advantages.Decay: gamma must lie in [0, 1], got {gamma}")
        self.gamma, self.key = gamma, key

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks the key."""
        gamma = ctx.value(self.gamma)
        return [float(gamma ** int(key_of(rows[s.row], (self.key,), f"column '{ctx.name}'")[0])) for s in samples]


class Nonzero:
    """1.0 where an earlier column is not exactly 0 everywhere, else 0.0: as a term's `where` it drops rows without a gradient from the
    denominators too.

    Args:
        column: its name; it stands before this one in the spec.
    """

    def __init__(self, column: str):
        self.column = column

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError for a column that is not there."""
        return [float(any(v != 0 for v in self._values(s, ctx))) for s in samples]

    def _values(self, sample: Sample, ctx: RunCtx) -> tuple[float, ...]:
        if self.column not in sample.columns:
            raise UserError(f"column '{ctx.name}': no column '{self.column}' stands before it{nearest(self.column, sample.columns)}")
        value = sample.columns[self.column]
        return value if isinstance(value, tuple) else (value,)
