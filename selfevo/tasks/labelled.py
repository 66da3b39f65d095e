"""Tasks whose answer is what a vote said."""

from __future__ import annotations

from ..errors import UserError
from ..protocols import Proposal
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

    def parse(self, row: Row) -> Proposal | None:
        """The row's task with its label; None where there was no label."""
        label, t = row.score.info.get("label"), row.trajectory.task
        if label is None:
            return None
        variables = {**t.vars, self.share: float(row.score.info["share"])}
        return t.id, variables, label, t.category, t.difficulty, t.environment, t.lineage.parent, t.prompt

    def task(self, proposal: Proposal) -> Task:
        """The labelled task."""
        identity, variables, label, category, difficulty, environment, parent, prompt = proposal
        return Task(variables, label, category, difficulty, environment, Lineage("labelled", parent), id=identity, prompt=prompt)
