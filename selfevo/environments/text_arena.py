"""Games of the TextArena package (Guertler et al. 2025, arXiv:2504.11442)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import UserError
from ..records import Task
from .game import IllegalMove, deal_of


class TextArena:
    """One of TextArena's games for two, by its id there ("KuhnPoker-v0", "TicTacToe-v0", "SimpleNegotiation-v0").

    The task's `deal` seeds it. An observation is what the package shows the seat to move: rules, then what happened. A move that it calls
    invalid is an IllegalMove at once: its second chances are not used, so that what an illegal move costs is said in one place
    (`rollouts.SelfPlay`). It does not list legal moves, so fixed players need a bundled game. Needs `pip install 'selfevo[games]'`.

    Args:
        game: id of the game.
        wrap: what a move is put into before it is handed over; {move} stands for it ("[{move}]" is what its games expect).
        options: further arguments of the game.
    """

    def __init__(self, game: str, wrap: str = "[{move}]", options: Mapping[str, Any] | None = None):
        if "{move}" not in wrap:
            raise UserError(f"environments.TextArena: wrap must hold {{move}}, got '{wrap}'")
        self.game, self.wrap, self.options = game, wrap, dict(options or {})
        self._env: Any = None
        self.seat = 0

    @property
    def name(self) -> str:
        """The game's id."""
        return self.game

    def start(self, task: Task, seed: int) -> str:
        """A new game. Raises UserError where the package, or the game, is not there."""
        try:
            import textarena
        except ImportError:
            raise UserError("environments.TextArena: not installed; pip install 'selfevo[games]'") from None
        try:
            self._env = textarena.make(self.game, **self.options)
        except (KeyError, ValueError) as error:
            raise UserError(f"environments.TextArena: no game '{self.game}': {error}") from None
        self._env.reset(num_players=2, seed=deal_of(task) % 2**31)
        return self._seen()

    def legal(self) -> list[str]:
        """Nothing: the package does not say."""
        return []

    def step(self, action: str) -> tuple[str, bool, Mapping[str, float]]:
        """A move of the seat to move. Raises IllegalMove where the game refuses it."""
        state, mover = self._env.state, self.seat
        before = state.error_count
        done, _ = self._env.step(self.wrap.replace("{move}", action.strip()))
        if state.error_count > before or state.game_info[mover].get("invalid_move"):
            raise IllegalMove(f"{action!r}")
        if done:
            return "", True, {str(seat): float(paid) for seat, paid in (state.rewards or {}).items()}
        return self._seen(), False, {}

    def _seen(self) -> str:
        self.seat, shown = self._env.get_observation()
        return str(shown)
