"""A mixture of games: each task's category says which one is played."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError, nearest
from ..protocols import Game
from ..records import Task


class Several:
    """The game of the task's category.

    Args:
        games: category to game.
    """

    def __init__(self, games: Mapping[str, Game]):
        if not games:
            raise UserError("environments.Several: `games` is empty; expected {category: game}")
        self.games = dict(games)
        self._now: Any = None

    def start(self, task: Task, seed: int) -> str:
        """First observation of that game. Raises UserError for a category without one."""
        if task.category not in self.games:
            raise UserError(f"environments.Several: no game for the category '{task.category}'{nearest(task.category, self.games)}")
        self._now = self.games[task.category]
        return str(self._now.start(task, seed))

    @property
    def name(self) -> str:
        """Of the game that is played."""
        return str(self._now.name)

    @property
    def seat(self) -> int:
        """Who is to move."""
        return int(self._now.seat)

    @property
    def position(self) -> Any:
        """The game's, where it has one."""
        return getattr(self._now, "position", None)

    def legal(self) -> Sequence[str]:
        """Moves that can be made now."""
        return list(self._now.legal())

    def step(self, action: str) -> tuple[str, bool, Mapping[str, float]]:
        """A move in it."""
        step: tuple[str, bool, Mapping[str, float]] = self._now.step(action)
        return step
