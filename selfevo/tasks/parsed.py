"""FromText: tasks read out of what a policy wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..errors import UserError, nearest
from ..protocols import Proposal
from ..records import Lineage, Row, Task, Trajectory


class FromText:
    """A task from the first match of a regular expression in a row's text.

    Args:
        pattern: its named groups become prompt variables; `answer`, `category` and `level` have their meaning. The default reads
            "<question>\\n#### <answer>".
        category: category of tasks whose text names none; None takes that of the row's task.
        keep: variables that the new task takes over from the row's task (the tools it may use).
    """

    def __init__(self, pattern: str = r"(?P<question>[^\n]+)\n(?:.*\n)*?#### *(?P<answer>\S+)", category: str | None = None,
                 keep: Sequence[str] = ()):  # fmt: skip
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"tasks.FromText: pattern is not a regular expression ({error})") from error
        groups = list(self.pattern.groupindex)
        self._variables = [name for name in groups if name not in ("answer", "category", "level")]
        if not self._variables:
            raise UserError("tasks.FromText: pattern names no prompt variable; expected a group such as (?P<question>...)")
        self.category, self.keep = category, tuple(keep)
        self._usual = groups == [*self._variables[:1], "answer"] and self.pattern.groups == 2 and not keep

    def parse(self, row: Row) -> Proposal | None:
        """Its variables, answer and category, beside its level and the row's trajectory; None when nothing matches or the level is no
        number."""
        trajectory = row.trajectory
        match = self.pattern.search(trajectory.text)
        if match is None:
            return None
        if not self._usual:
            return self._parsed(match, trajectory)
        said, answer = match.groups()  # the same written out: a pool reads thousands at a time
        if said is None:
            return None
        of = trajectory.task
        return (said.strip(), answer and answer.strip(), self.category or of.category), of.difficulty, trajectory.id

    def _parsed(self, match: re.Match[str], trajectory: Trajectory) -> Proposal | None:
        """From any pattern, with what is kept."""
        of, said = trajectory.task, {name: value and value.strip() for name, value in match.groupdict().items()}
        variables, level = [said[name] for name in self._variables], said.get("level")
        if all(value is None for value in variables) or (level is not None and re.fullmatch(r"-?\d+(\.\d+)?", level) is None):
            return None
        for name in self.keep:
            if name not in of.vars:
                raise UserError(f"tasks.FromText: the row's task has no variable '{name}' to keep{nearest(name, of.vars)}")
        kept = [of.vars[name] for name in self.keep]
        key = (*variables, said.get("answer"), said.get("category") or self.category or of.category)
        if kept:
            key = (*key, json.dumps(kept, sort_keys=True))
        return key, of.difficulty if level is None else float(level), trajectory.id, *kept

    def task(self, proposal: Proposal) -> Task:
        """The task, its parent the trajectory that proposed it."""
        key, level, parent, *kept = proposal
        n = len(self._variables)
        variables = dict(zip(self.keep, kept, strict=True))
        variables |= {name: value for name, value in zip(self._variables, key[:n], strict=True) if value is not None}
        return Task(variables, key[n], key[n + 1], level, lineage=Lineage("proposed", parent))
