"""Word overlap with the reference, for free-text answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where
from .exact import NO_REFERENCE


class Overlap:
    """F1 of the words of the answer against the words of the reference, in [0, 1] (Rajpurkar et al. 2016, "SQuAD", section 6.1).

    With n words in common, counted with multiplicity, P = n / words given, R = n / words of the reference, F1 = 2PR / (P + R). Words
    are runs of letters and digits, case ignored; articles are kept. No answer scores 0; a reference without words is an abstention.

    Args:
        extract, pattern: as in `Exact`.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, extract: Where = "marked", pattern: str | None = None):
        self.extract = Extract(extract, pattern)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        wanted = words(row.trajectory.task.answer or "")
        if not wanted:
            return row.failed(name, "abstain", NO_REFERENCE)
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        given = words(found)
        common = (given & wanted).total()
        return row.rewarded(name, 2 * common / (given.total() + wanted.total()), info={"answer": " ".join(found.split())})


def words(text: str) -> Counter[str]:
    """Words of a text with their counts."""
    return Counter(re.findall(r"\w+", text.casefold()))
