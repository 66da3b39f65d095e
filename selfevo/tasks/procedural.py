"""What the procedural families share: levels, wording, drawing and worked solutions."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

from ..errors import UserError, nearest
from ..records import Lineage, Task

Wording = Literal["terse", "full"]
"""terse: the few characters the bundled policy was trained on; full: a sentence, for chat models."""


class Procedural:
    """An endless task family with integer levels and exact answers; subclasses say how one task of a level is made.

    Everything is drawn from the generator given to `draw`, so equal generators give equal tasks. A task's id is a digest of its
    content: the same question drawn twice is the same task, which is what held-out checks rely on.

    levels: those that are drawn, alike often. wording: terse, the bare expression; full, a sentence that says what to do.
    """

    name: ClassVar[str]
    deepest: ClassVar[int] = 99

    def __init__(self, levels: Sequence[int], wording: Wording) -> None:
        if isinstance(levels, str) or not levels:
            raise UserError(f"{self.name}: `levels` must be a list of whole numbers such as [1, 2, 3], got {levels!r}")
        for level in levels:
            if isinstance(level, bool) or level != int(level) or not 1 <= level <= self.deepest:
                raise UserError(f"{self.name}: level {level!r} is not a whole number from 1 to {self.deepest}")
        if wording not in ("terse", "full"):
            raise UserError(f"{self.name}: wording {wording!r} is unknown{nearest(str(wording), ('terse', 'full'))}")
        self._levels = tuple(sorted({int(level) for level in levels}))
        self.wording = wording

    @property
    def categories(self) -> tuple[str, ...]:
        """The family's own name, the only category it makes."""
        return (self.name,)

    @property
    def levels(self) -> tuple[float, ...]:
        """Every level it makes, ascending."""
        return tuple(float(level) for level in self._levels)

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task, its level uniform over `levels` unless given. Raises UserError for a category or level it does not make."""
        if category is not None and category != self.name:
            raise UserError(f"{self.name}: no category '{category}'{nearest(category, self.categories)}")
        if level is not None and level not in self._levels:
            raise UserError(f"{self.name}: no level {level:g} (levels: {', '.join(map(str, self._levels))})")
        return self.make(int(level) if level is not None else rng.choice(self._levels), rng)

    def make(self, level: int, rng: random.Random) -> Task:
        """One task of `level`, every choice taken from `rng`."""
        raise NotImplementedError

    def parse(self, question: str) -> Task | None:
        """The task that a terse question asks, or None where it is not a well-formed question of this family."""
        raise NotImplementedError

    def steps(self, task: Task) -> list[str]:
        """The lines of a correct worked solution, without the final `####` line."""
        raise NotImplementedError

    def gold(self, task: Task) -> str:
        """A correct worked solution: the steps, one per line, then `#### answer`."""
        return "\n".join([*self.steps(task), f"#### {task.answer}"])

    def _task(self, level: int, question: str, answer: str, variables: Mapping[str, Any]) -> Task:
        every = {"question": question, "category": self.name, "level": level, **variables}
        return Task(every, answer, self.name, float(level), lineage=Lineage(self.name))
