"""The group's vote as label: reward without a reference (TTRL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row
from .answers import Extract, Where, answer_of


class Majority:
    """1.0 for agreeing with the most frequent answer of the group, else 0.0 (Zuo et al. 2025, "TTRL", section 2.2).

    Votes are answers an earlier part left in `info["answer"]`, else extracted here; rows without an answer do not vote, and get 0 once
    there is a label.
    No label, and so an abstention of every row: nobody answered; the winner's share of the group's rows is below `min_share`; a tie
    under ties="abstain". A group of one agrees with itself. The label and its share are left in `info["label"]` and `info["share"]`.

    Args:
        extract, pattern: as in `Exact`.
        ties: "first": of the tied answers the one seen first in the group is the label; "abstain": none is.
        min_share: smallest share of the rows, 0 to 1, that makes a label; it may vary over the run.
    """

    scope: Literal["row", "group", "batch"] = "group"

    def __init__(
        self,
        extract: Where = "marked",
        pattern: str | None = None,
        ties: Literal["first", "abstain"] = "first",
        min_share: Number = 0.0,
    ):
        if ties not in ("first", "abstain"):
            raise UserError(f"majority: ties is '{ties}'; expected 'first' or 'abstain'")
        if isinstance(min_share, (int, float)) and not 0 <= min_share <= 1:
            raise UserError(f"majority: min_share is {min_share}; expected a share from 0 to 1")
        self.extract, self.ties, self.min_share = Extract(extract, pattern), ties, min_share

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The group with the reward under `ctx.name`."""
        answers = [answer_of(row, self.extract) for row in rows]
        votes = Counter(a for a in answers if a is not None)
        if not votes:
            return [row.failed(ctx.name, "abstain", "nobody in the group gave an answer") for row in rows]
        label, most = votes.most_common(1)[0]  # equal counts come in order of first appearance
        share = most / len(rows)
        if share < ctx.value(self.min_share):
            return [row.failed(ctx.name, "abstain", f"the majority's share {share:.3g} is too small") for row in rows]
        if self.ties == "abstain" and list(votes.values()).count(most) > 1:
            return [row.failed(ctx.name, "abstain", f"a tie at {most} votes") for row in rows]
        info = {"label": label, "share": f"{share:.6g}"}
        return [
            row.rewarded(ctx.name, float(answer == label), info=info if answer is None else {**info, "answer": answer})
            for row, answer in zip(rows, answers, strict=True)
        ]
