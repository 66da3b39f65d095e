"""Several advantages as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..errors import UserError, nearest
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample


class Combined:
    """A = sum_k w_k A_k over columns that were computed before: outcome plus step, extrinsic plus intrinsic.

    A number per sample where all of them are, else one per token [T], to which the former are broadcast. A column whose weight is 0 is
    not read.

    Args:
        weights: w_k by column; they may vary over the run.
    """

    def __init__(self, weights: Mapping[str, Number]):
        if not weights:
            raise UserError("advantages.Combined: weights is empty; expected {column: weight}")
        self.weights = dict(weights)

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One entry per sample. Raises UserError for a column no advantage before this one has made."""
        weights = {name: w for name, number in self.weights.items() if (w := ctx.value(number)) != 0.0}
        return [self._sum(s, weights, ctx) for s in samples]

    def _sum(self, sample: Sample, weights: Mapping[str, float], ctx: RunCtx) -> Column:
        for name in weights:
            if name not in sample.columns:
                raise UserError(f"advantage '{ctx.name}': sample {sample.id} has no column '{name}'{nearest(name, sample.columns)}")
        parts = [(w, sample.columns[name]) for name, w in weights.items()]
        if not any(isinstance(a, tuple) for _, a in parts):
            return float(sum(w * a for w, a in parts if not isinstance(a, tuple)))
        return tuple(sum(w * (a[t] if isinstance(a, tuple) else a) for w, a in parts) for t in range(len(sample.response)))
