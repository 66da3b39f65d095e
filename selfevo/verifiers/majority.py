"""The group's vote as label: reward without a reference (TTRL)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row
from .answers import Extract, Where, answer_of
from .numbers import number

Sameness = Literal["text", "value"]
"""When two answers are one: equal as normalised text, or equal in value where both are plain numbers (0.5, 1/2 and 50%)."""

SAMENESS = ("text", "value")


class Majority:
    """1.0 for agreeing with the most frequent answer of the group, else 0.0 (Zuo et al. 2025, "TTRL", section 2.2).

    Votes are answers an earlier part left in `info["answer"]`, else extracted here; rows without an answer do not vote, and get 0 once
    there is a label.
    No label, and so an abstention of every row: nobody answered; the winner's share of the group's rows is below `min_share`; a tie
    under ties="abstain". A group of one agrees with itself. The label and its share are left in `info["label"]` and `info["share"]`.

    MM-UPT (Wei et al. 2025, arXiv:2505.22453) rewards answers that are equal to the label in value. Its released code counts votes
    as text all the same, so that spellings of one value split them, and lets rows without an answer vote, agree and win:
    vote="text", equal="value", missing="votes".

    Args:
        extract, pattern: as in `Exact`.
        ties: "first": of the tied answers the one seen first in the group is the label; "abstain": none is.
        min_share: smallest share of the rows, 0 to 1, that makes a label; it may vary over the run.
        vote: which answers are counted as one. equal: which agree with the label.
        missing: rows without an answer are "ignored" by the count, or "votes": "no answer" is then an answer like any other.
    """

    scope: Literal["row", "group", "batch"] = "group"

    def __init__(
        self,
        extract: Where = "marked",
        pattern: str | None = None,
        ties: Literal["first", "abstain"] = "first",
        min_share: Number = 0.0,
        vote: Sameness = "text",
        equal: Sameness = "text",
        missing: Literal["ignored", "votes"] = "ignored",
    ):
        choices = {"ties": (ties, "first", "abstain"), "vote": (vote, *SAMENESS), "equal": (equal, *SAMENESS)}
        for name, (value, one, other) in {**choices, "missing": (missing, "ignored", "votes")}.items():
            if value not in (one, other):
                raise UserError(f"majority: {name} is '{value}'; expected '{one}' or '{other}'")
        if isinstance(min_share, (int, float)) and not 0 <= min_share <= 1:
            raise UserError(f"majority: min_share is {min_share}; expected a share from 0 to 1")
        self.extract, self.ties, self.min_share = Extract(extract, pattern), ties, min_share
        self.vote, self.equal, self.missing = vote, equal, missing

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The group with the reward under `ctx.name`."""
        answers = [answer_of(row, self.extract) for row in rows]
        voting = [a for a in answers if a is not None or self.missing == "votes"]
        votes = Counter(form(a, self.vote) for a in voting)
        if not votes:
            return [row.failed(ctx.name, "abstain", "nobody in the group gave an answer") for row in rows]
        winner, most = votes.most_common(1)[0]  # equal counts come in order of first appearance
        share = most / len(rows)
        if share < ctx.value(self.min_share):
            return [row.failed(ctx.name, "abstain", f"the majority's share {share:.3g} is too small") for row in rows]
        if self.ties == "abstain" and list(votes.values()).count(most) > 1:
            return [row.failed(ctx.name, "abstain", f"a tie at {most} votes") for row in rows]
        label = next(a for a in voting if form(a, self.vote) == winner)
        right, info = form(label, self.equal), {"label": label or "", "share": f"{share:.6g}"}
        return [
            row.rewarded(ctx.name, float(form(answer, self.equal) == right), info=info if answer is None else {**info, "answer": answer})
            for row, answer in zip(rows, answers, strict=True)
        ]


def form(answer: str | None, same: Sameness) -> str | Fraction | None:
    """What an answer is compared as; None where there is none."""
    value = number(answer) if answer is not None and same == "value" else None
    return answer if value is None else value
