"""Another advantage normalised over the whole batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Advantage, RunCtx
from ..records import Column, Row, Sample
from ..samples.common import key_of
from .common import deviation, mean
from .raw import Raw


class Whiten:
    """A' = (A - mean(A)) / (std(A) + eps) over the batch: REINFORCE++ (Hu et al. 2025, arXiv:2501.03262, eq. 8).

    `of` is any advantage: `Raw` gives REINFORCE++, `GroupNorm(std="none")` REINFORCE++-baseline, `Gae` the whitened advantages of PPO.
    Where `of` gives a value per token, statistics are over the tokens with mask 1 and masked tokens stay 0; where it gives a number per
    sample, over samples, or with `count: tokens` each sample counts as often as it has such tokens. A batch whose values are all equal,
    or a single value, becomes 0. With `by` each key's samples are a batch of their own (task-relative REINFORCE++ of
    "Multi-Agent Evolve", Chen et al. 2025, arXiv:2510.23595, with `by: [role]`).

    Args:
        of: advantage to normalise; `Raw(reward)` when left out.
        reward: reward of that default.
        center: whether to take the mean off.
        std: "sample" (divides by n - 1), "population" (by n), or "none".
        eps: added to the standard deviation.
        by: keys whose values are normalised apart; none: all together.
        count: what a sample-level value counts as in mean and deviation, "samples" or "tokens".
    """

    def __init__(
        self,
        of: Advantage | None = None,
        reward: str = "score",
        center: bool = True,
        std: Literal["none", "population", "sample"] = "population",
        eps: float = 1e-8,
        count: Literal["samples", "tokens"] = "samples",
        by: Sequence[str] = (),
    ):
        if std not in ("none", "population", "sample"):
            raise UserError(f"advantages.Whiten: std must be 'none', 'population' or 'sample', got {std!r}")
        if count not in ("samples", "tokens"):
            raise UserError(f"advantages.Whiten: count must be 'samples' or 'tokens', got {count!r}")
        if eps < 0:
            raise UserError(f"advantages.Whiten: eps must not be negative, got {eps}")
        self.of: Advantage = Raw(reward) if of is None else of
        self.needs: frozenset[str] = getattr(self.of, "needs", frozenset())
        self.center, self.std, self.eps, self.count, self.by = center, std, eps, count, tuple(by)

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One entry per sample, of the same shape as `of` gave."""
        columns = self.of(samples, rows, ctx)
        masks = [mask_of(s) for s in samples]
        if not self.by:
            return self._whitened(columns, masks)
        apart: dict[tuple[str, ...], list[int]] = {}
        for i, s in enumerate(samples):
            apart.setdefault(key_of(rows[s.row], self.by, f"advantage '{ctx.name}'"), []).append(i)
        out = list(columns)
        for places in apart.values():
            for i, column in zip(places, self._whitened([columns[i] for i in places], [masks[i] for i in places]), strict=True):
                out[i] = column
        return out

    def _whitened(self, columns: Sequence[Column], masks: Sequence[Sequence[float]]) -> list[Column]:
        values = [v for column, mask in zip(columns, masks, strict=True) for v in self._counted(column, mask)]
        if not values:
            return list(columns)
        if min(values) == max(values):
            return [tuple(0.0 for _ in c) if isinstance(c, tuple) else 0.0 for c in columns] if self.center else list(columns)
        shift = mean(values) if self.center else 0.0
        scale = 1.0 if self.std == "none" else deviation(values, self.std) + self.eps
        return [
            tuple((v - shift) / scale if m else 0.0 for v, m in zip(c, mask, strict=True)) if isinstance(c, tuple) else (c - shift) / scale
            for c, mask in zip(columns, masks, strict=True)
        ]

    def _counted(self, column: Column, mask: Sequence[float]) -> list[float]:
        if isinstance(column, tuple):
            return [v for v, m in zip(column, mask, strict=True) if m]
        return [column] * (sum(m != 0 for m in mask) if self.count == "tokens" else 1)

    def state_dict(self) -> dict[str, object]:
        """The inner advantage's state, if it has one."""
        inner = getattr(self.of, "state_dict", None)
        return {"of": inner() if inner is not None else {}}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Restore; raises ValueError for a state that does not fit."""
        inner = getattr(self.of, "load_state_dict", None)
        if set(state) != {"of"} or (inner is None and state["of"]):
            raise ValueError(f"advantages.Whiten: a state with {sorted(state)} does not fit")
        if inner is not None:
            inner(state["of"])


def mask_of(sample: Sample) -> tuple[float, ...]:
    """The sample's `mask` column over its tokens; ones where it has none."""
    mask = sample.columns.get("mask", 1.0)
    return mask if isinstance(mask, tuple) else (mask,) * len(sample.response)
