"""Only the good rows: rejection sampling."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Row, Sample
from .common import check_reward, count_dropped, key_of
from .policy_turns import PolicyTurns


class Kept:
    """Samples of rows whose reward lies in [low, high], and of those only the best few of each group.

    With an NLL objective this is rejection fine-tuning (RFT: Yuan et al. 2023, arXiv:2308.01825; the E-step of ReST-EM: Singh et al.
    2023, arXiv:2312.06585), with `best_of: 1` RAFT (Dong et al. 2023, arXiv:2304.06767). Rows without the reward are never kept.
    Equal rewards are ordered by a seeded draw, so that no place in a group is favoured.

    Args:
        of: builder whose samples are kept; `PolicyTurns(reward, temperature=1)` when left out.
        reward: reward that is looked at.
        low: smallest reward kept. above: what a kept reward must exceed.
        high: largest reward kept.
        best_of: how many rows of each group at most; None keeps all in range.
        fill: of each group only so many rows (the same number for all, at most `best_of`) as it takes to keep this many in all: few of
            every task before many of an easy one. Logged as "train/best_of". All in range where they are fewer.
        by: keys whose values make a group.
        unique: keep only one of several equal responses to one context (RFT's distinct reasoning paths).
    """

    def __init__(
        self,
        of: Builder | None = None,
        reward: str = "score",
        low: Number = float("-inf"),
        high: Number = float("inf"),
        best_of: int | None = None,
        by: Sequence[str] = ("group",),
        unique: bool = False,
        above: Number = float("-inf"),
        fill: int | None = None,
    ):
        if fill is not None and fill < 1:
            raise UserError(f"samples.Kept: fill must be at least 1, got {fill}")
        if best_of is not None and best_of < 1:
            raise UserError(f"samples.Kept: best_of must be at least 1, got {best_of}")
        if isinstance(low, float | int) and isinstance(high, float | int) and low > high:
            raise UserError(f"samples.Kept: low ({low}) is above high ({high}): nothing could be kept")
        self.of: Builder = PolicyTurns(reward, temperature=1.0) if of is None else of
        self.reward, self.low, self.high, self.best_of, self.by, self.unique = reward, low, high, best_of, tuple(by), unique
        self.above, self.fill = above, fill

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples of the kept rows, in the inner builder's order."""
        check_reward(rows, self.reward, "samples.Kept")
        low, high, above = ctx.value(self.low), ctx.value(self.high), ctx.value(self.above)
        built = self.of.build(rows, ctx)
        samples = [s for s in built if (r := rows[s.row].reward(self.reward)) is not None and low <= r <= high and r > above]
        if self.unique:
            first: dict[tuple[object, ...], Sample] = {}
            for s in samples:
                first.setdefault((s.contexts["train"], s.response), s)
            samples = list(first.values())
        if self.best_of is not None or self.fill is not None:
            best = self._best(rows, {s.row for s in samples}, ctx)
            samples = [s for s in samples if s.row in best]
        count_dropped(rows, len({s.row for s in samples}), ctx)
        return samples

    def _best(self, rows: Sequence[Row], among: set[int], ctx: RunCtx) -> set[int]:
        members: dict[tuple[str, ...], list[tuple[float, int]]] = {}
        for i in sorted(among):
            reward = rows[i].reward(self.reward)
            if reward is not None:
                members.setdefault(key_of(rows[i], self.by, "samples.Kept"), []).append((reward, i))
        count = len(among) if self.best_of is None else self.best_of
        if self.fill is not None:
            count = smallest_cap([len(group) for group in members.values()], self.fill, count)
            ctx.log("train/best_of", count)
        kept: set[int] = set()
        for key, group in members.items():
            ctx.rng("kept", *key).shuffle(group)
            group.sort(key=lambda pair: -pair[0])  # stable: the shuffle decides between equals
            kept.update(i for _, i in group[:count])
        return kept


def smallest_cap(sizes: Sequence[int], fill: int, most: int) -> int:
    """The smallest k in 1..most with sum_i min(size_i, k) >= fill; `most` (or the largest size, where that is less) when none suffices."""
    most = max(1, min(most, max(sizes, default=1)))
    return next((k for k in range(1, most) if sum(min(size, k) for size in sizes) >= fill), most)
