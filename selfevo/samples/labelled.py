"""Rows labelled desirable or undesirable, with the mismatched pairs of KTO's reference point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Row, Sample
from .common import check_reward, count_dropped, key_of
from .policy_turns import PolicyTurns


class Labelled:
    """Samples with a column `label` (+1 where the reward is at least `threshold`, else -1), for `KTO`.

    KTO's reference point is estimated from contexts read with responses to other contexts (Ethayarajh et al. 2024, arXiv:2402.01306,
    section 4.1). With `mismatched`, each sample is the first of a unit of two whose second is its own context with the response of
    the nearest sample before it (around the end) that belongs to another group; when all are one group, simply of the sample before it.
    With groups of one this is the rotation by one that TRL makes. Columns: `kl` is 1 on these and 0 on the others; their `label` is 0.
    A single sample has no other response, so it gets no second: the reference point is then 0.

    Args:
        of: builder of the samples, one per row; `PolicyTurns(reward, temperature=1)` when left out.
        reward: reward that is compared with the threshold.
        threshold: smallest reward that is desirable.
        mismatched: whether to add the mismatched samples.
        by: keys whose values make a group, within which responses are not mismatched.
    """

    def __init__(
        self,
        of: Builder | None = None,
        reward: str = "score",
        threshold: Number = 0.5,
        mismatched: bool = True,
        by: Sequence[str] = ("group",),
    ):
        self.of: Builder = PolicyTurns(reward, temperature=1.0) if of is None else of
        self.reward, self.threshold, self.mismatched, self.by = reward, threshold, mismatched, tuple(by)

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the inner builder's order, each followed by its mismatched twin. Logs "train/desirable", their share."""
        check_reward(rows, self.reward, "samples.Labelled")
        threshold = ctx.value(self.threshold)
        found = [(s, r) for s in self.of.build(rows, ctx) if (r := rows[s.row].reward(self.reward)) is not None]
        samples = [s for s, _ in found]
        if len({s.row for s in samples}) != len(samples):
            raise UserError("samples.Labelled: its builder `of` gives several samples for one row; use one that gives one (PolicyTurns)")
        labels = [1.0 if r >= threshold else -1.0 for _, r in found]
        count_dropped(rows, len(samples), ctx)
        if samples:
            ctx.log("train/desirable", labels.count(1.0) / len(labels))
        units = self._units(samples, labels, [key_of(rows[s.row], self.by, "samples.Labelled") for s in samples])
        return [s for unit in units for s in unit]

    def _units(self, samples: Sequence[Sample], labels: Sequence[float], keys: Sequence[tuple[str, ...]]) -> list[list[Sample]]:
        units = []
        for i, (s, label) in enumerate(zip(samples, labels, strict=True)):
            unit = [replace(s.with_columns(label=label, kl=0.0), unit=s.id, place=0)]
            if self.mismatched and len(samples) > 1:
                other = samples[_other(i, keys)]
                twin = replace(other, id=f"{s.id}/kl", keys=s.keys, row=s.row, unit=s.id, place=1)
                unit.append(twin.with_context("train", s.contexts["train"]).with_columns(label=0.0, kl=1.0))
            units.append(unit)
        return units


def _other(i: int, keys: Sequence[tuple[str, ...]]) -> int:
    """The nearest index before `i`, around the end, with another key; `i - 1` when there is none."""
    n = len(keys)
    return next((j % n for j in range(i - 1, i - n, -1) if keys[j % n] != keys[i]), (i - 1) % n)
