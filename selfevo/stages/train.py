"""The train stage: makes a new version of an evolvable thing (weights or text) from scored rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..context import StageCtx
from ..errors import UserError
from ..protocols import Optimizer, each_item
from ..records import Row, Version
from ..references import TableRef
from ..roles import split_ref
from ..where import Where
from .base import Outcome


class Train:
    """Hands rows to an optimizer and records the version it makes.

    policy / memory: what is trained (exactly one of the two). from: table reference(s) the rows come from. where: rows it may see.
    optimizer: makes the new version: a `Learner` for weights, `Edits` and its like for text.
    promote: alias(es) moved to the new version ("current" by default for weights; nothing for text, where a gate decides).
    using: tables the optimizer's parts may read.
    every: runs in the last of so many iterations of the innermost repeated block, and in the final one.
    """

    kind = "train"

    def __init__(
        self,
        from_: str | Sequence[str],
        optimizer: Optimizer,
        policy: str | None = None,
        memory: str | None = None,
        promote: str | Sequence[str] | None = None,
        where: Where | None = None,
        using: Sequence[str] = (),
        every: int = 1,
    ):
        if (policy is None) == (memory is None):
            raise UserError("a train stage trains either a `policy` or a `memory`: give exactly one of them")
        if every < 1:
            raise UserError(f"every must be 1 or more, not {every}")
        self.from_ = [str(TableRef.parse(ref, "from") and ref) for ref in each_item(from_)]
        self.optimizer, self.policy, self.memory, self.where, self.using, self.every = optimizer, policy, memory, where, using, every
        default: tuple[str, ...] = ("current",) if policy is not None else ()
        self.promote = default if promote is None else tuple(each_item(promote))

    def run(self, ctx: StageCtx) -> Outcome:
        """At most one new version of weights; without one the optimizer was not stepped and nothing is promoted. Of text there may be
        several candidates, of which the last counts as the stage's own."""
        rows = [row for ref in self.from_ for row in ctx.world.rows(ref, ctx.path)]
        if self.where is not None:
            rows = self.where.select(rows)
        ctx.log("train/rows", len(rows))
        ctx.using = tuple(self.using)
        name = self.policy if self.policy is not None else self.memory
        assert name is not None
        target = ctx.world.live(name) if self.policy is not None else ctx.world.memory(name, ctx.bind.get(name, "current"))
        before = target.version
        if self.policy is not None:
            _log_staleness(ctx, rows, before)
            ctx.world.rest()
        with ctx.timed("train"):
            made = self.optimizer.update(target, rows, ctx)
        touched = (f"{ctx.stage}.optimizer",)
        fitted = tuple(getattr(self.optimizer, "fitted", ()))
        table: Literal["samples", ""] = "samples" if fitted else ""
        tokens = int(getattr(self.optimizer, "sampled", 0))  # of an optimizer that samples by itself
        if made is None or (isinstance(made, list) and not made):
            return Outcome(touched=touched, tokens=tokens)
        known = ctx.world.lineages.versions[name]
        versions: list[Version] = []
        for one in each_item(made):
            if self.memory is not None and one.id in known:  # an existing version: a gate adopted a candidate that an earlier stage made
                version = known[one.id]
            else:
                version = replace(
                    one,
                    name=name,
                    id=ctx.world.lineages.next_id(name),
                    parents=one.parents or (before.id,),
                    kind="weights" if self.policy is not None else "text",
                    made_by=ctx.where,
                )
                versions.append(version)
                ctx.world.made(version, ctx.stage, target)
        promotions = {name: dict.fromkeys(self.promote, version.id)} if self.promote else {}
        return Outcome(table, samples=fitted, versions=versions, promotions=promotions, touched=touched, tokens=tokens)


def _log_staleness(ctx: StageCtx, rows: Sequence[Row], target: Version) -> None:
    """Mean number of updates since the version that sampled a row, where a row is older than the version to be trained."""
    sampled = Counter(row.trajectory.policy for row in rows)
    own = {ref: split_ref(ref)[1] for ref in sampled if split_ref(ref)[0] == target.name}
    ages = {ref: n for ref, older in own.items() if (n := ctx.world.lineages.updates(target.name, older, target.id)) is not None}
    if any(ages.values()):
        ctx.log("rollout/staleness", sum(n * sampled[ref] for ref, n in ages.items()) / sum(sampled[ref] for ref in ages))
