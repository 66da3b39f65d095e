"""Preference pairs from the steps of search trees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row, Sample, Turn
from .common import check_reward, count_dropped, keys_of, usable


class SiblingPairs:
    """Units of two samples: the best against the worst of the steps that extend one prefix, for `DPO` and its kin.

    Step-level preferences of a tree search (Xie et al. 2024, arXiv:2405.00451, section 2.2): siblings are rows with one `parent`; a step
    that was followed by a single step is joined with it, and so on. Steps are ordered by `reward`, then by `visits`; siblings whose best
    and worst differ by no more than `margin` give nothing. The context is the common prefix; the mask leaves out the tokens the two begin
    with alike. Where one of them is the beginning of the other they give nothing either. Column `smoothing`, on both rows: the chance
    that the pair is the wrong way round, from the visits N,

        a = min(N_worst / (max(least, N_best) + N_worst), 1/2);      least = 0 in the paper, 1 in its code; 1/2 where nothing was visited.

    Args:
        reward: reward that orders siblings (a tree's "q"). visits: reward that holds their visit counts.
        which: "path" takes the siblings along the chosen line (key `path` of the rows), "all" those of every node.
        margin: the best exceeds the worst by more than this.
        least: see above.
        limit: most pairs of one episode, first those at the start; None: all.
    """

    def __init__(
        self,
        reward: str = "q",
        visits: str = "visits",
        which: Literal["path", "all"] = "path",
        margin: Number = 0.0,
        least: int = 0,
        limit: int | None = 8,
    ):
        if which not in ("path", "all"):
            raise UserError(f"samples.SiblingPairs: which must be 'path' or 'all', got {which!r}")
        if least < 0 or (limit is not None and limit < 1):
            raise UserError(f"samples.SiblingPairs: needs least >= 0 and limit >= 1, got {least} and {limit}")
        self.reward, self.visits, self.which, self.margin, self.least, self.limit = reward, visits, which, margin, least, limit

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Chosen, rejected, chosen, ...; in the order in which siblings appear. Logs "train/pairs" and "train/smoothing", its mean."""
        check_reward(rows, self.reward, "samples.SiblingPairs")
        margin = ctx.value(self.margin)
        families: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            if usable(row, self.reward) and row.trajectory.parent is not None:
                families.setdefault(row.trajectory.parent, []).append(i)
        taken: dict[str, int] = {}
        samples: list[Sample] = []
        for siblings in families.values():
            episode = rows[siblings[0]].trajectory.episode
            on_path = self.which == "all" or any(rows[i].trajectory.keys.get("path") == "yes" for i in siblings)
            if on_path and (self.limit is None or taken.get(episode, 0) < self.limit):
                unit = self._pair(rows, siblings, families, margin)
                taken[episode] = taken.get(episode, 0) + bool(unit)
                samples += unit
        ctx.log("train/pairs", len(samples) / 2)
        if samples:
            ctx.log("train/smoothing", sum(cast("float", s.columns["smoothing"]) for s in samples) / len(samples))
        count_dropped(rows, len({s.row for s in samples}), ctx)
        return samples

    def _pair(self, rows: Sequence[Row], siblings: Sequence[int], families: dict[str, list[int]], margin: float) -> list[Sample]:
        worth = {i: (rows[i].reward(self.reward) or 0.0, rows[i].reward(self.visits) or 0.0) for i in siblings}
        best, worst = max(siblings, key=lambda i: worth[i]), min(siblings, key=lambda i: worth[i])
        if not worth[best][0] - worth[worst][0] > margin:
            return []
        steps = [_joined(rows, i, families) for i in (best, worst)]
        responses = [tuple(token for turn in turns for token in turn.tokens) for turns in steps]
        shared = next((k for k, (a, b) in enumerate(zip(*responses, strict=False)) if a != b), None)
        if shared is None:
            return []
        a, unit = self._smoothing(worth[best][1], worth[worst][1]), f"{rows[best].trajectory.id}>{rows[worst].trajectory.id}"
        return [
            Sample(
                f"{unit}/{name}", response, {"train": turns[0].context},
                {"mask": tuple(float(k >= shared) for k in range(len(response))), "temperature": 1.0, "smoothing": a},
                keys_of(rows[i]), unit=unit, place=place, row=i,
            )
            for place, (name, i, turns, response) in enumerate(zip(("chosen", "rejected"), (best, worst), steps, responses, strict=True))
        ]  # fmt: skip

    def _smoothing(self, best: float, worst: float) -> float:
        total = max(self.least, best) + worst
        return min(worst / total, 0.5) if total else 0.5


def _joined(rows: Sequence[Row], i: int, families: dict[str, list[int]]) -> list[Turn]:
    """The turns of step `i`, with those of the only children that follow it."""
    turns = [rows[i].trajectory.turns[-1]]
    while len(below := families.get(rows[i].trajectory.id, [])) == 1:
        [i] = below
        turns.append(rows[i].trajectory.turns[-1])
    return turns
