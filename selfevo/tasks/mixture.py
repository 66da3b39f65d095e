"""Mixture: several task sources as one, in fixed proportions."""

from __future__ import annotations

import random
from collections.abc import Mapping

from ..errors import UserError, nearest
from ..protocols import TaskSource
from ..records import Task
from .cells import cells_of


class Mixture:
    """Draws a source by weight among those that can give what is asked, then a task from it.

    For proportions that vary over the run use `curricula.Mixture`, which sees the run.

    sources: name to task source.
    weights: name to its share (they need not sum to 1; 0 switches a source off); default: equal. A source left out has weight 1.
    """

    def __init__(self, sources: Mapping[str, TaskSource], weights: Mapping[str, float] | None = None):
        self.sources = dict(sources)
        for name in weights or {}:
            if name not in sources:
                raise UserError(f"task mixture: weight for unknown source '{name}'{nearest(name, sources)}")
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in sources}
        if min(self.weights.values(), default=0.0) < 0 or sum(self.weights.values()) <= 0:
            raise UserError(f"task mixture: weights are {self.weights}; expected none below 0 and at least one above")

    @property
    def categories(self) -> tuple[str, ...]:
        """Categories of the sources that are on, sorted."""
        return tuple(sorted({category for name in self._active for category in self.sources[name].categories}))

    @property
    def levels(self) -> tuple[float, ...]:
        """Levels of the sources that are on, ascending."""
        return tuple(sorted({level for name in self._active for level in self.sources[name].levels}))

    @property
    def cells(self) -> tuple[tuple[str, float | None], ...]:
        """The (category, level) pairs that some source can give."""
        return tuple(dict.fromkeys(cell for name in self._active for cell in cells_of(self.sources[name])))

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task. Raises UserError when no source can match."""
        names = [name for name in self._active if self._gives(name, category, level)]
        if not names:
            raise UserError(f"task mixture of {', '.join(self.sources)} has no task of category {category} at level {level}")
        (name,) = rng.choices(names, [self.weights[n] for n in names])
        return self.sources[name].draw(rng, category, level)

    @property
    def _active(self) -> list[str]:
        return [name for name, weight in self.weights.items() if weight > 0]

    def _gives(self, name: str, category: str | None, level: float | None) -> bool:
        if category is None and level is None:
            return True
        return any(category in (None, c) and level in (None, at) for c, at in cells_of(self.sources[name]))
