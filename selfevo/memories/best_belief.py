"""The final pick of an archive: the version that is good with much certainty, not the one with the highest mean of few tries."""

from __future__ import annotations

from collections.abc import Sequence

from ..curricula.archive import beta_quantile
from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version
from .memory import Memory
from .stateless import Stateless


class BestBelief(Stateless):
    """The version with the largest `quantile` of Beta(1 + s, 1 + f), s and f its solved and missed tasks among the rows (Huxley-Goedel
    Machine, 2025, arXiv:2510.21614: a low percentile of the utility's posterior). The oldest of equals; a version without rows is none.

    Args:
        quantile: between 0 and 1; low is careful.
        reward: solved means at least 0.5 of it; rows without it say nothing.
    """

    def __init__(self, quantile: float = 0.05, reward: str = "score"):
        if not 0 < quantile < 1:
            raise UserError(f"BestBelief: quantile must lie between 0 and 1, got {quantile}")
        self.quantile, self.reward = quantile, reward

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """The version to promote."""
        counts: dict[str, list[int]] = {}
        for row in rows:
            value = row.reward(self.reward)
            if value is not None:
                counts.setdefault(row.trajectory.memories[target.name].rpartition("@")[2], [1, 1])[value < 0.5] += 1
        if not counts:
            return None
        belief = {version: beta_quantile(a, b, self.quantile) for version, (a, b) in sorted(counts.items())}
        best = max(belief, key=lambda version: belief[version])
        ctx.log("archive/belief", belief[best])
        ctx.log("archive/picked", float(best))
        return target.resolve(best)
