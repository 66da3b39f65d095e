"""Reads a verdict: the reward of a judge's reply is what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, normalise


class Says:
    """1.0 when the reply's answer is one of the `yes` words, 0.0 for one of the `no` words; anything else abstains.

    For rows of a judge: other parts then bring the mean verdict back to the row that was judged. Case and a final full stop are ignored.

    Args:
        yes, no: the words of either verdict.
        extract, pattern: as in `Exact`; a reply without an answer abstains.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(
        self, yes: Sequence[str] = ("yes",), no: Sequence[str] = ("no",), extract: Where = "marked", pattern: str | None = None
    ):
        self.extract = Extract(extract, pattern)
        self.words = {normalise(word, fold_case=True): 1.0 for word in yes} | {normalise(word, fold_case=True): 0.0 for word in no}
        if not yes or not no or len(self.words) != len(yes) + len(no):
            raise UserError(f"says: `yes` {list(yes)} and `no` {list(no)} must each hold words, and all differ")

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the verdict under `ctx.name`."""
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row: Row, name: str) -> Row:
        found = self.extract(row.trajectory.text)
        word = None if found is None else normalise(found, fold_case=True)
        if word not in self.words:
            said = "the reply has no answer" if found is None else f"{found!r} is neither yes nor no"
            return row.failed(name, "abstain", f"no verdict: {said}")
        return row.rewarded(name, self.words[word], info={"answer": word})
