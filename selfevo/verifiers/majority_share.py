"""How much a group agrees with itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, answer_of, normalise


class MajorityShare:
    """s = votes of the most frequent answer / rows of the group, the same for every row: self-consistency as a number.

    The difficulty that a proposer is paid by (R-Zero: Huang et al. 2025; Agent0: Xia et al. 2025, arXiv:2511.16043) and the filter for
    pseudo-labelled tasks. Rows without an answer count among the rows; of tied answers the one seen first is the label. Nobody answering
    gives 0 and no label. A group of one that answers has s = 1. Info: "label", "share".

    Args:
        agree: s is 0 where the label is not the task's own answer (a proposer's), as Agent0's code has it.
        above: s is 0 unless it is above this (0.1 in that code).
        extract, pattern: as in `Exact`.
    """

    scope: Literal["row", "group", "batch"] = "group"

    def __init__(self, agree: bool = False, above: float = 0.0, extract: Where = "marked", pattern: str | None = None):
        if not 0 <= above < 1:
            raise UserError(f"majority_share: above is {above}; expected a share from 0 to below 1")
        self.agree, self.above, self.extract = agree, above, Extract(extract, pattern)

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The group with s under `ctx.name`."""
        votes = Counter(a for row in rows if (a := answer_of(row, self.extract)) is not None)
        if not votes:
            return [row.rewarded(ctx.name, 0.0) for row in rows]
        label, most = votes.most_common(1)[0]  # equal counts come in order of first appearance
        share = most / len(rows)
        own = rows[0].trajectory.task.answer
        void = share <= self.above or (self.agree and (own is None or normalise(own) != label))
        info = {"label": label, "share": repr(share)}
        return [row.rewarded(ctx.name, 0.0 if void else share, info=info) for row in rows]
