"""Preference pairs from rewards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from typing import Literal

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Row, Sample
from .common import check_reward, count_dropped, key_of
from .policy_turns import PolicyTurns


class Pairs:
    """Units of two samples: the chosen one at place 0, the rejected one at place 1, for `DPO`, `IPO` and `SimPO`.

    Within a group, a pair is two rows whose rewards differ by more than `margin`. "best_worst" takes one pair per group, the highest
    against the lowest reward (among equals a seeded draw); "all" takes every pair, or a seeded choice of `limit` of them. A group
    without such a pair gives none. A row may appear in several pairs; its samples then carry the unit in their ids.

    Args:
        of: builder of the samples to pair, one per row; `PolicyTurns(reward, temperature=1)` when left out.
        reward: reward that orders the rows.
        margin: the chosen reward exceeds the rejected one by more than this.
        which: "best_worst" or "all".
        limit: most pairs per group with "all"; None for no limit.
        by: keys whose values make a group.
    """

    def __init__(
        self,
        of: Builder | None = None,
        reward: str = "score",
        margin: Number = 0.0,
        which: Literal["best_worst", "all"] = "best_worst",
        limit: int | None = None,
        by: Sequence[str] = ("group",),
    ):
        if which not in ("best_worst", "all"):
            raise UserError(f"samples.Pairs: which must be 'best_worst' or 'all', got {which!r}")
        if limit is not None and limit < 1:
            raise UserError(f"samples.Pairs: limit must be at least 1, got {limit}")
        if isinstance(margin, float | int) and margin < 0:
            raise UserError(f"samples.Pairs: margin must not be negative, got {margin}")
        self.of: Builder = PolicyTurns(reward, temperature=1.0) if of is None else of
        self.reward, self.margin, self.which, self.limit, self.by = reward, margin, which, limit, tuple(by)

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Chosen, rejected, chosen, rejected, ...; groups in order of first appearance. Logs "train/pairs"."""
        check_reward(rows, self.reward, "samples.Pairs")
        margin = ctx.value(self.margin)
        grouped: dict[tuple[str, ...], list[tuple[float, Sample]]] = {}
        for sample in self._one_per_row(self.of.build(rows, ctx)):
            reward = rows[sample.row].reward(self.reward)
            if reward is not None:
                grouped.setdefault(key_of(rows[sample.row], self.by, "samples.Pairs"), []).append((reward, sample))
        pairs = [p for key, members in grouped.items() for p in self._pairs(key, members, margin, ctx)]
        ctx.log("train/pairs", len(pairs))
        samples = [s for chosen, rejected in pairs for s in _unit(chosen, rejected)]
        count_dropped(rows, len({s.row for s in samples}), ctx)
        return samples

    def _pairs(
        self, key: tuple[str, ...], members: Sequence[tuple[float, Sample]], margin: float, ctx: RunCtx
    ) -> list[tuple[Sample, Sample]]:
        rng = ctx.rng("pairs", *key)
        if self.which == "best_worst":
            high, low = max(r for r, _ in members), min(r for r, _ in members)
            if not high - low > margin:
                return []
            chosen = rng.choice([s for r, s in members if r == high])
            return [(chosen, rng.choice([s for r, s in members if r == low]))]
        pairs = [(a, b) for (ra, a), (rb, b) in product(members, members) if ra - rb > margin]
        if self.limit is None or len(pairs) <= self.limit:
            return pairs
        return [pairs[i] for i in sorted(rng.sample(range(len(pairs)), self.limit))]

    @staticmethod
    def _one_per_row(samples: Sequence[Sample]) -> Sequence[Sample]:
        if len({s.row for s in samples}) != len(samples):
            raise UserError("samples.Pairs: its builder `of` gives several samples for one row; use one that gives one (PolicyTurns)")
        return samples


def _unit(chosen: Sample, rejected: Sample) -> tuple[Sample, Sample]:
    unit = f"{chosen.id}>{rejected.id}"
    return replace(chosen, id=f"{unit}/chosen", unit=unit, place=0), replace(rejected, id=f"{unit}/rejected", unit=unit, place=1)
