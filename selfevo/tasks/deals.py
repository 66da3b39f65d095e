"""Tasks that are games to be played."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import UserError, nearest
from ..records import Lineage, Task


class Deals:
    """Each task a game and a number, `deal`, that decides how it starts (an environment reads both); endless for all practical purposes.

    Args:
        games: names of games, drawn uniformly: the categories of the tasks.
        deals: how many different starts a game has here.
    """

    def __init__(self, games: Sequence[str], deals: int = 10**9):
        if not games or isinstance(games, str) or deals < 1:
            raise UserError(f"tasks.Deals: needs a list of games and deals >= 1, got {games!r} and {deals}")
        self.games, self.deals = tuple(games), deals

    @property
    def categories(self) -> tuple[str, ...]:
        """The games."""
        return self.games

    @property
    def levels(self) -> tuple[float, ...]:
        """None."""
        return ()

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One game. Raises UserError for one it does not have."""
        if category is not None and category not in self.games:
            raise UserError(f"tasks.Deals: no game '{category}'{nearest(category, self.games)}")
        game = rng.choice(self.games) if category is None else category
        return Task({"game": game, "deal": rng.randrange(self.deals)}, category=game, environment=game, lineage=Lineage("deal"))
