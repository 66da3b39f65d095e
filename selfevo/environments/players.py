"""Players that do not learn: opponents to train and to measure against."""

from __future__ import annotations

import copy
import random
from collections.abc import Hashable

from ..errors import UserError
from ..protocols import Game


class RandomPlayer:
    """Any legal move, each as likely."""

    def act(self, game: Game, rng: random.Random) -> str:
        """A move. Raises UserError for a game that does not list its moves."""
        return rng.choice(_moves(game, "RandomPlayer"))


class Perfect:
    """The best move against the best replies, found by looking at the whole game; drawn among equally good ones.

    For games of two with few positions, whose payoffs add up to 0. What it has worked out it remembers.

    Args:
        slip: chance of any legal move instead: 1 is `RandomPlayer`.
    """

    def __init__(self, slip: float = 0.0):
        if not 0 <= slip <= 1:
            raise UserError(f"environments.Perfect: slip is {slip}; expected a chance from 0 to 1")
        self.slip = slip
        self._known: dict[tuple[str, Hashable], float] = {}

    def act(self, game: Game, rng: random.Random) -> str:
        """A move. Raises UserError for a game that does not list its moves or has no `position`."""
        moves = _moves(game, "Perfect")
        if self.slip and rng.random() < self.slip:
            return rng.choice(moves)
        values = {move: self._after(game, move) for move in moves}
        best = max(values.values())
        return rng.choice([move for move, value in values.items() if value == best])

    def _after(self, game: Game, move: str) -> float:
        """What the mover is paid in the end."""
        mover, then = game.seat, copy.deepcopy(game)
        _, done, paid = then.step(move)
        if done:
            return float(paid[str(mover)])
        value = self._value(then)
        return value if then.seat == mover else -value

    def _value(self, game: Game) -> float:
        """What the seat to move is paid in the end."""
        position = getattr(game, "position", None)
        if position is None:
            raise UserError(f"environments.Perfect: {type(game).__name__} has no `position`, so it cannot be searched")
        key = (type(game).__name__, position)
        if key not in self._known:
            self._known[key] = max(self._after(game, move) for move in _moves(game, "Perfect"))
        return self._known[key]


def _moves(game: Game, who: str) -> list[str]:
    moves = list(game.legal())
    if not moves:
        raise UserError(f"environments.{who}: {type(game).__name__} does not list its legal moves")
    return moves
