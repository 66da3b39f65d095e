"""What a judge's reply says: a number on a scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import compiled


class Judged:
    """clip((x - worst) / (best - worst), 0, 1), with x the last number that `pattern` finds in a judge's reply.

    For rows of a judge, who followed the rows it judges; `Children` brings the mean of several judgements back to them. A reply without a
    number abstains, or with `otherwise` counts as that. A number outside the scale counts as its nearer end.

    Metrics, so that a judge that has stopped judging is seen: "judge/<name>/spread" (standard deviation of the scores),
    "judge/<name>/constant" (1 when there are several scores and all are equal), "judge/<name>/top" (share of scores at the best),
    "judge/<name>/unreadable" (share of replies).

    Args:
        pattern: regex; group 1 (or the match, where it has no group) is the number.
        worst, best: ends of the judge's scale; best may be the smaller.
        otherwise: score of a reply without a number; null makes it abstain.
    """

    scope: Literal["row", "group", "batch"] = "batch"

    def __init__(
        self,
        pattern: str = r"<score>\s*(\d+)\s*</score>",
        worst: float = 1.0,
        best: float = 10.0,
        otherwise: float | None = None,
    ):
        if worst == best:
            raise UserError(f"judged: worst and best are both {best}; a scale needs two ends")
        if otherwise is not None and not 0 <= otherwise <= 1:
            raise UserError(f"judged: otherwise is {otherwise}; expected a score from 0 to 1")
        self.pattern, self.worst, self.best, self.otherwise = compiled(pattern), worst, best, otherwise

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with the score under `ctx.name`."""
        scores = [self._score(row.trajectory.text) for row in rows]
        read = [x for x in scores if x is not None]
        prefix = f"judge/{ctx.name}"
        if rows:
            ctx.log(f"{prefix}/unreadable", 1 - len(read) / len(rows))
        if read:
            mean = math.fsum(read) / len(read)
            ctx.log(f"{prefix}/spread", math.sqrt(math.fsum((x - mean) ** 2 for x in read) / len(read)))
            ctx.log(f"{prefix}/constant", float(len(read) > 1 and min(read) == max(read)))
            ctx.log(f"{prefix}/top", sum(x == 1.0 for x in read) / len(read))
        return [self._scored(row, score, ctx.name) for row, score in zip(rows, scores, strict=True)]

    def _score(self, text: str) -> float | None:
        found = list(self.pattern.finditer(text))
        said = found[-1].group(1 if self.pattern.groups else 0) if found else None
        try:
            x = float(said) if said is not None else math.nan
        except ValueError:
            return None
        return min(max((x - self.worst) / (self.best - self.worst), 0.0), 1.0) if math.isfinite(x) else None

    def _scored(self, row: Row, score: float | None, name: str) -> Row:
        if score is not None:
            return row.rewarded(name, score)
        if self.otherwise is not None:
            return row.rewarded(name, self.otherwise, info={f"{name}/unreadable": "yes"})
        return row.failed(name, "abstain", "the judge's reply holds no score")
