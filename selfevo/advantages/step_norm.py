"""Step rewards compared within a group."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Column, Row, Sample, Step
from ..samples.common import key_of
from .common import deviation, mean
from .whiten import mask_of


class StepNorm:
    """A_s = (r_s - mean(R)) / (std(R) + eps), R the rewards of all steps of all rows of a group (OPRL, arXiv:2509.19199, section 3).

    A step's reward is the sum of the column `of` over its tokens with mask 1. Steps are the sample's spans (policy turns unless the
    rollout set others), or the whole response where it has none; with `samples.EachTurn` every sample is a step. Every token of a step
    has the step's advantage; tokens in no step, and masked ones, have 0. [T] per sample. Logs the mean over groups of the deviation as
    "advantage/<column>/spread".

    Args:
        of: column with rewards per token, computed before this one.
        by: keys whose values make a group.
        std: "population", "sample", or "none".
        eps: added to the deviation.
        flat: a group whose deviation is at most this has advantage 0 throughout: differences that are rounding are not made large.
    """

    def __init__(
        self,
        of: str,
        by: Sequence[str] = ("group",),
        std: Literal["none", "population", "sample"] = "population",
        eps: float = 1e-6,
        flat: float = 1e-6,
    ):
        if std not in ("none", "population", "sample"):
            raise UserError(f"advantages.StepNorm: std must be 'none', 'population' or 'sample', got {std!r}")
        if eps < 0 or flat < 0:
            raise UserError(f"advantages.StepNorm: eps and flat must not be negative, got {eps} and {flat}")
        self.of, self.by, self.std, self.eps, self.flat = of, tuple(by), std, eps, flat

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per token. Raises UserError where a sample has no such column per token."""
        keys = [key_of(rows[s.row], self.by, f"advantage '{ctx.name}'") for s in samples]
        rewards = [[(span, self._sum(s, span, ctx)) for span in s.steps or (Step(0, len(s.response)),)] for s in samples]
        members: dict[tuple[str, ...], list[float]] = {}
        for key, steps in zip(keys, rewards, strict=True):
            members.setdefault(key, []).extend(r for _, r in steps)
        shape = {key: (mean(group), deviation(group, "sample" if self.std == "sample" else "population") if len(group) > 1 else 0.0)
                 for key, group in members.items()}  # fmt: skip
        if shape:
            ctx.log(f"advantage/{ctx.name}/spread", mean([spread for _, spread in shape.values()]))
        return [self._column(s, steps, *shape[key]) for s, steps, key in zip(samples, rewards, keys, strict=True)]

    def _sum(self, sample: Sample, span: Step, ctx: RunCtx) -> float:
        column = sample.columns.get(self.of)
        if not isinstance(column, tuple):
            raise UserError(f"advantage '{ctx.name}': sample {sample.id} has no column '{self.of}' with a number per token"
                            f"{nearest(self.of, sample.columns)}")  # fmt: skip
        mask = mask_of(sample)
        return math.fsum(column[t] for t in range(span.start, span.end) if mask[t])

    def _column(self, sample: Sample, steps: Sequence[tuple[Step, float]], middle: float, spread: float) -> tuple[float, ...]:
        out, mask = [0.0] * len(sample.response), mask_of(sample)
        if spread > self.flat:
            scale = 1.0 if self.std == "none" else spread + self.eps
            for span, reward in steps:
                for t in range(span.start, span.end):
                    out[t] = (reward - middle) / scale if mask[t] else 0.0
        return tuple(out)
