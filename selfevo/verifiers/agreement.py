"""How far a judge can be trusted: its scores beside a reference on the same rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .earlier import earlier


class Agreement:
    """Logs how a judge's scores agree with a reference; gives no reward. For a calibration set: rows whose truth is known.

    Metrics over rows that have both: "agreement/<name>/rate" (both on one side of the threshold), "agreement/<name>/kappa" (Cohen's: that
    rate beyond what their shares alone would give; left out where a side is constant), "agreement/<name>/auc" (chance that a row with a
    good reference is scored above one with a bad one, ties half; 1/2 for a judge that always says the same), "agreement/<name>/bias" (mean
    score minus mean reference), "agreement/<name>/rows".

    Args:
        judge: reward of the judge, given by a part before this one.
        reference: reward it is held against.
        threshold: what counts as good, for both.
    """

    scope: Literal["row", "group", "batch"] = "batch"
    judges = False

    def __init__(self, judge: str, reference: str, threshold: float = 0.5):
        if judge == reference:
            raise UserError(f"agreement: judge and reference are both '{judge}'")
        self.judge, self.reference, self.threshold = judge, reference, threshold

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows as they were."""
        found = [(earlier(row, self.judge, ctx), earlier(row, self.reference, ctx)) for row in rows]
        pairs = [(j, r) for j, r in found if j is not None and r is not None]
        ctx.log(f"agreement/{ctx.name}/rows", len(pairs))
        for name, value in figures(pairs, self.threshold).items():
            ctx.log(f"agreement/{ctx.name}/{name}", value)
        return list(rows)


def figures(pairs: Sequence[tuple[float, float]], threshold: float) -> dict[str, float]:
    """rate, kappa, auc and bias of (score, reference) pairs; those that are not defined are left out."""
    if not pairs:
        return {}
    n = len(pairs)
    good = [(j >= threshold, r >= threshold) for j, r in pairs]
    rate = sum(a == b for a, b in good) / n
    said, true = sum(a for a, _ in good) / n, sum(b for _, b in good) / n
    chance = said * true + (1 - said) * (1 - true)
    out = {"rate": rate, "bias": math.fsum(j - r for j, r in pairs) / n}
    if chance < 1:
        out["kappa"] = (rate - chance) / (1 - chance)
    above = [j for j, r in pairs if r >= threshold]
    below = [j for j, r in pairs if r < threshold]
    if above and below:
        out["auc"] = sum((x > y) + 0.5 * (x == y) for x in above for y in below) / (len(above) * len(below))
    return out
