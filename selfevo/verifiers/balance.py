"""Which temperature and which threshold give the best training data? B-STaR's controller."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from ..samples.kept import smallest_cap
from .earlier import earlier

Query = list[tuple[float, bool]]
"""(reward, right) of the distinct responses to one query, best first."""


class Balance:
    """Logs the temperature and the reward threshold with the highest balance score (Zeng et al. 2024, "B-STaR", arXiv:2412.17256).

    For temperature T and threshold tau, S_i = the distinct responses to query i sampled at T whose reward exceeds tau, the best k of
    them, with k the smallest that selects `fill` responses in all (at most `most`). With n_i = |S_i|, of which c_i are right,

        bs_i = min(c_i / n_star, 1) c_i / n_i,      (T*, tau*) = argmax mean_i bs_i over the queries with n_i > 0

    (section 3; ties go to the lower temperature, then to the lower threshold). A filter: it gives no reward. Metrics, under the part's
    name: temperature, threshold, balance, and balance/T=... for every temperature at its own best threshold. Samplers and selections
    read them: {metric: <name>/temperature}. On rows of a single temperature only the threshold is left to choose, which is how the
    released code derives it anew on the full data. A row without the reward is no response.

    Args:
        reward: what is compared with the threshold. right: reward that tells right (at least 0.5) from wrong responses.
        n_star: how many right responses of a query are enough.
        thresholds: (first, last, step) of the grid.
        fill: size of the selection; None: all above the threshold, up to `most` per query.
        most: largest k.
        empty: what a query without a selected response counts for: left out of the mean (paper, code), or zero.
    """

    scope: Literal["row", "group", "batch"] = "batch"
    judges = False

    def __init__(
        self,
        reward: str,
        right: str,
        n_star: int = 8,
        thresholds: tuple[float, float, float] = (-1.0, 1.0, 0.01),
        fill: int | None = None,
        most: int = 64,
        empty: Literal["drop", "zero"] = "drop",
    ):
        first, last, step = thresholds
        if n_star < 1 or most < 1 or (fill is not None and fill < 1):
            raise UserError(f"balance: n_star, most and fill must be at least 1, got {n_star}, {most} and {fill}")
        if step <= 0 or last < first:
            raise UserError(f"balance: thresholds {list(thresholds)} must be (first, last, step) with first <= last and step > 0")
        if empty not in ("drop", "zero"):
            raise UserError(f"balance: empty must be 'drop' or 'zero', got {empty!r}")
        self.reward, self.right, self.n_star, self.fill, self.most, self.empty = reward, right, n_star, fill, most, empty
        self.grid = [round(first + i * step, 10) for i in range(math.floor((last - first) / step + 1e-9) + 1)]

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows as they were. Nothing is logged where no row has the reward."""
        best: tuple[float, float, float] | None = None
        for temperature, queries in sorted(self._queries(rows, ctx).items()):
            scores = [(self.score(queries.values(), threshold), threshold) for threshold in self.grid]
            value, threshold = max(scores, key=lambda s: s[0])  # the first of equals
            ctx.log(f"{ctx.name}/balance/T={temperature:g}", value)
            if best is None or value > best[0]:
                best = value, temperature, threshold
        if best is not None:
            for name, value in zip(("balance", "temperature", "threshold"), best, strict=True):
                ctx.log(f"{ctx.name}/{name}", value)
        return list(rows)

    def score(self, queries: Iterable[Query], threshold: float) -> float:
        """Mean balance score of a selection; 0 where nothing is selected."""
        above = [[right for reward, right in query if reward > threshold] for query in queries]
        most = self.most if self.fill is None else smallest_cap([len(a) for a in above], self.fill, self.most)
        scores = [balance_score(sum(a[:most]), len(a[:most]), self.n_star) for a in above if a or self.empty == "zero"]
        return math.fsum(scores) / len(scores) if scores else 0.0

    def _queries(self, rows: Sequence[Row], ctx: RunCtx) -> dict[float, dict[str, Query]]:
        """Distinct responses by temperature and task, best first."""
        found: dict[float, dict[str, dict[str, tuple[float, bool]]]] = {}
        for row in rows:
            reward, right = earlier(row, self.reward, ctx), earlier(row, self.right, ctx)
            turns = [turn for turn in row.trajectory.turns if turn.source == "policy"]
            if reward is not None and turns:
                mine = found.setdefault(turns[-1].temperature, {}).setdefault(row.trajectory.task.id, {})
                mine.setdefault(row.trajectory.text, (reward, right is not None and right >= 0.5))
        return {t: {q: sorted(r.values(), key=lambda x: -x[0]) for q, r in queries.items()} for t, queries in found.items()}


def balance_score(right: int, selected: int, n_star: int) -> float:
    """min(c / n_star, 1) c / n: quantity of right responses times purity of the selection; 0 for an empty one."""
    return min(right / n_star, 1.0) * right / selected if selected else 0.0
