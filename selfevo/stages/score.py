"""The score stage: judges what was sampled, changes nothing but the curricula that learn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..context import StageCtx
from ..errors import UserError
from ..protocols import Part, each_item
from ..references import TableRef
from ..verifiers.run import SCORE, summary, verify
from ..where import Where
from .base import Outcome


class Score:
    """Applies a verifier to the rows of one or more tables.

    of: table reference(s) whose rows are judged; earlier scores of those rows stay visible to the parts.
    verifier: ordered mapping of parts; the last part's reward is also `score` unless a part has that name.
    update: curricula that learn from the scored rows (all of them, before any filter).
    using: tables that parts may read through `ctx.rows` (the solver's attempts at a proposed task).
    subject: name of the memory or policy the judgement is about, for gates; informative.
    where: judge only rows that match; the others are left out of the table.
    every: runs in the last of so many iterations of the innermost repeated block, and in the final one.
    """

    kind = "score"

    def __init__(
        self,
        of: str | Sequence[str],
        verifier: Mapping[str, Part],
        update: Sequence[str] = (),
        using: Sequence[str] = (),
        subject: str | None = None,
        where: Where | None = None,
        every: int = 1,
    ):
        if every < 1:
            raise UserError(f"every must be 1 or more, not {every}")
        self.of = [str(TableRef.parse(ref, "of") and ref) for ref in each_item(of)]
        self.verifier, self.update, self.using, self.subject, self.where, self.every = verifier, update, using, subject, where, every

    def run(self, ctx: StageCtx) -> Outcome:
        """Scored rows, in the order of the tables they come from."""
        rows = [row for ref in self.of for row in ctx.world.rows(ref, ctx.path)]
        if self.where is not None:
            rows = self.where.select(rows)
        ctx.using = tuple(self.using)
        with ctx.timed("score"):
            scored = verify(self.verifier, rows, ctx.named, ctx.world.place.judging(ctx.stage))
            for name, value in summary(scored).items():
                ctx.log(name, value)
            rewards = [r for row in scored if (r := row.reward(SCORE)) is not None]
            if rewards:
                ctx.log("rollout/reward", sum(rewards) / len(rewards))
            for name in self.update:
                ctx.world.curriculum(name).update(scored, ctx.named(name))
        return Outcome("scores", scored, judged=True, touched=tuple(self.update))
