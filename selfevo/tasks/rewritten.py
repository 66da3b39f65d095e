"""Rewritten: the tasks of another source in other words, with another answer."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping

from ..errors import UserError, nearest
from ..protocols import TaskSource
from ..records import Lineage, Task


class Rewritten:
    """Every task of `source` with prompt variables (and the reference answer) written anew from its own.

    {question: "no {question}"} puts a marker before each question; {solution: "#### {answer}"} adds a variable. A text may name any
    variable of the task, and {answer}, {category}, {level}. Texts are filled in from the task as it came, not one from another.

    Args:
        source: where the tasks come from.
        vars: variable to its new text.
        answer: new reference answer; None keeps the source's.
        category: new category; None keeps the source's.
    """

    def __init__(self, source: TaskSource, vars: Mapping[str, str], answer: str | None = None, category: str | None = None):
        self.source, self.vars, self.answer, self.category = source, dict(vars), answer, category
        try:
            self._needs = sorted({n for text in (*self.vars.values(), answer or "") for _, n, _, _ in string.Formatter().parse(text) if n})
        except ValueError as error:
            raise UserError(f"tasks.Rewritten: not a template: {error} (write {{{{ and }}}} for braces)") from error

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task of the source, rewritten. A `category` of one's own is not passed on."""
        if self.category is not None and category == self.category:
            category = None
        return self._of(self.source.draw(rng, category, level))

    @property
    def categories(self) -> tuple[str, ...]:
        """The new category, or the source's."""
        return self.source.categories if self.category is None else (self.category,)

    @property
    def levels(self) -> tuple[float, ...]:
        """The source's."""
        return self.source.levels

    def _of(self, task: Task) -> Task:
        level = "" if task.difficulty is None else f"{task.difficulty:g}"
        known = {"category": task.category, "level": level, "answer": task.answer, **task.vars}
        for name in self._needs:
            if known.get(name) is None:
                raise UserError(f"tasks.Rewritten: the task has no variable '{name}'{nearest(name, known)}")
        texts = {name: text.format(**known) for name, text in self.vars.items()}
        answer = task.answer if self.answer is None else self.answer.format(**known)
        category = task.category if self.category is None else self.category
        return Task({**task.vars, **texts}, answer, category, task.difficulty, task.environment, Lineage("rewritten", task.id), task.turns)
