"""Another advantage, larger for replies that are unlike the others of their group."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from ..samples.common import key_of
from ..similarity import ngrams


class Diversity:
    """A'_i = A_i d_i with d_i = |e_i - mean_j e_j|, divided by the group's largest ("Bootstrapping Task Spaces for Self-Improvement", 2025,
    arXiv:2509.04575, which embeds with a frozen encoder). Here e_i are the counts of character n-grams of the reply, scaled to length 1:
    what a policy of any size has. d_i = 1 for all where all distances are 0, so equal replies change nothing.

    Args:
        of: the earlier column that is scaled.
        n: characters of an n-gram.
        scale: "positive": only A_i > 0, so that unlike and good replies gain; "all": negative ones as well.
        by: keys whose values make a group.
    """

    def __init__(self, of: str = "outcome", n: int = 3, scale: Literal["positive", "all"] = "positive", by: Sequence[str] = ("group",)):
        if n < 1:
            raise UserError(f"advantages.Diversity: n must be at least 1, got {n}")
        if scale not in ("positive", "all"):
            raise UserError(f"advantages.Diversity: scale must be 'positive' or 'all', got {scale!r}")
        self.of, self.n, self.scale, self.by = of, n, scale, tuple(by)

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One entry per sample, shaped as the column `of`. Logs "advantage/diversity", the mean of d. UserError where it is missing."""
        members: dict[tuple[str, ...], list[int]] = {}
        for i in sorted({s.row for s in samples}):
            members.setdefault(key_of(rows[i], self.by, f"advantage '{ctx.name}'"), []).append(i)
        d: dict[int, float] = {}
        for group in members.values():
            d |= dict(zip(group, distances([ngrams(rows[i].trajectory.text, self.n) for i in group]), strict=True))
        if d:
            ctx.log("advantage/diversity", math.fsum(d.values()) / len(d))
        out: list[Column] = []
        for s in samples:
            if self.of not in s.columns:
                raise UserError(f"column '{ctx.name}': no column '{self.of}' stands before it{nearest(self.of, s.columns)}")
            column, far = s.columns[self.of], d[s.row]
            out.append(tuple(self._scaled(a, far) for a in column) if isinstance(column, tuple) else self._scaled(column, far))
        return out

    def _scaled(self, advantage: float, d: float) -> float:
        return advantage * d if advantage > 0 or self.scale == "all" else advantage


def distances(vectors: Sequence[Mapping[str, float]]) -> list[float]:
    """Distance of each vector from their mean over the largest such distance; 1 for all where all are equal."""
    if all(v == vectors[0] for v in vectors):
        return [1.0] * len(vectors)
    middle = {gram: math.fsum(v.get(gram, 0.0) for v in vectors) / len(vectors) for gram in sorted({g for v in vectors for g in v})}
    far = [math.sqrt(math.fsum((v.get(gram, 0.0) - m) ** 2 for gram, m in middle.items())) for v in vectors]
    return [x / max(far) for x in far]
