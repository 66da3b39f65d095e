"""FromText: tasks read out of what a policy wrote."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UserError, nearest
from ..records import Lineage, Row, Task


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
        if not set(self.pattern.groupindex) - {"answer", "category", "level"}:
            raise UserError("tasks.FromText: pattern names no prompt variable; expected a group such as (?P<question>...)")
        self.category, self.keep = category, tuple(keep)
        own = ("answer", "category", "level")
        self._variables = [(name, at - 1) for name, at in self.pattern.groupindex.items() if name not in own]
        self._own = [self.pattern.groupindex.get(name, 0) - 1 for name in own]  # -1: the None behind the groups, for what it lacks

    def parse(self, row: Row) -> Task | None:
        """The task, its parent the row's trajectory; None when nothing matches or the level is no number."""
        match = self.pattern.search(row.trajectory.text)
        if match is None:
            return None
        groups = (*match.groups(), None)
        found = {}
        for name, at in self._variables:  # a loop: comprehensions are calls
            if (value := groups[at]) is not None:
                found[name] = value.strip()
        if not found:
            return None
        answer_at, category_at, level_at = self._own
        answer, category, level = groups[answer_at], groups[category_at], groups[level_at]
        if level is not None and re.fullmatch(r"\s*-?\d+(\.\d+)?\s*", level) is None:
            return None
        of = row.trajectory.task
        for name in self.keep:
            if name not in of.vars:
                raise UserError(f"tasks.FromText: the row's task has no variable '{name}' to keep{nearest(name, of.vars)}")
        return Task(
            {**{name: of.vars[name] for name in self.keep}, **found} if self.keep else found,
            answer and answer.strip(),
            (category and category.strip()) or self.category or of.category,
            of.difficulty if level is None else float(level),
            lineage=Lineage("proposed", row.trajectory.id),
        )
