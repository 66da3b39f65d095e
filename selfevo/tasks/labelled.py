"""Tasks whose answer is what a vote said."""

from __future__ import annotations

from dataclasses import replace

from ..errors import UserError
from ..records import Lineage, Row, Task


class Labelled:
    """The task of a row that was voted on, its answer the label, the vote's share one of its variables.

    Reads `info["label"]` and `info["share"]`, which `verifiers.Majority` and `MajorityShare` leave. The id stays that of the task,
    so that all rows of a group give one task.

    Args:
        share: variable that keeps the share, for whatever weighs labels by it.
    """

    def __init__(self, share: str = "share"):
        if not share.isidentifier():
            raise UserError(f"tasks.Labelled: share must be a variable's name, got '{share}'")
        self.share = share

    def parse(self, row: Row) -> Task | None:
        """The labelled task; None where there was no label."""
        label, t = row.score.info.get("label"), row.trajectory.task
        if label is None:
            return None
        variables = {**t.vars, self.share: float(row.score.info["share"])}
        return replace(t, vars=variables, answer=label, lineage=Lineage("labelled", t.lineage.parent), turns=())
