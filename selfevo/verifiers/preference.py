"""What a judge of pairs says, with both orders asked."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import compiled


class Preference:
    """The mean of a row's pairs: 1 for one it won, 0 for one it lost, 1/2 for a tie.

    `table` holds a judge's rows on {compare: ...} tasks. A pair that was asked in both orders is won only where both verdicts agree on the
    text, not on the place; where they contradict each other, or one is a tie, it is a tie. A reply that says neither is no verdict; a
    pair without any is left out, one with a single verdict is decided by it. A row without a decided pair abstains.

    Metrics: "judge/<name>/contradicted" (share of pairs asked twice whose verdicts follow the place), "judge/<name>/first" (share of
    verdicts, ties aside, for the text shown first: 1/2 without a bias), "judge/<name>/ties" (share of decided pairs),
    "judge/<name>/unreadable" (share of replies).

    Args:
        table: scored or unscored table of the judge; declare it under the stage's `using`.
        pattern: regex; group 1 (or the match) of its last match is the verdict.
        first, second, tie: what the verdicts are, case ignored.
    """

    scope: Literal["row", "group", "batch"] = "batch"

    def __init__(self, table: str, pattern: str = r"\[\[(\w+)\]\]", first: str = "A", second: str = "B", tie: str = "C"):
        self.words = {first.casefold(): 1.0, second.casefold(): 0.0, tie.casefold(): 0.5}
        if len(self.words) != 3:
            raise UserError(f"preference: first, second and tie must differ, got '{first}', '{second}' and '{tie}'")
        self.table, self.pattern = table, compiled(pattern)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with their share of pairs under `ctx.name`."""
        judged = ctx.rows(self.table)
        pairs: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        said: list[float] = []
        for row in judged:
            verdict, asked = self._verdict(row.trajectory.text), row.trajectory.task.vars
            if verdict is None:
                continue
            said.append(verdict)
            a, b = str(asked["first_id"]), str(asked["second_id"])
            pairs[min(a, b), max(a, b)].append(verdict if a < b else 1 - verdict)
        share: defaultdict[str, list[float]] = defaultdict(list)
        decided = []
        for (a, b), verdicts in pairs.items():
            won = verdicts[0] if min(verdicts) == max(verdicts) else 0.5
            decided.append(won)
            share[a].append(won)
            share[b].append(1 - won)
        self._log(ctx, len(judged), said, list(pairs.values()), decided)
        return [self._scored(row, share.get(row.trajectory.id, []), ctx.name) for row in rows]

    def _verdict(self, text: str) -> float | None:
        found = list(re.finditer(self.pattern, text))
        return self.words.get((found[-1].group(1 if self.pattern.groups else 0) or "").casefold()) if found else None

    def _log(self, ctx: RunCtx, asked: int, said: Sequence[float], pairs: Sequence[Sequence[float]], decided: Sequence[float]) -> None:
        twice, clear = [v for v in pairs if len(v) > 1], [v for v in said if v != 0.5]
        figures = {
            "unreadable": (asked - len(said), asked), "first": (sum(clear), len(clear)),
            "contradicted": (sum(min(v) == 0.0 and max(v) == 1.0 for v in twice), len(twice)),
            "ties": (sum(won == 0.5 for won in decided), len(decided)),
        }  # fmt: skip
        for name, (count, of) in figures.items():
            if of:
                ctx.log(f"judge/{ctx.name}/{name}", count / of)

    def _scored(self, row: Row, won: Sequence[float], name: str) -> Row:
        if not won:
            return row.failed(name, "abstain", "no judge decided a pair with this row")
        return row.rewarded(name, sum(won) / len(won), info={f"{name}/pairs": str(len(won))})
