"""Nim with one heap."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError
from ..records import Task
from ..seeds import rng
from .game import IllegalMove, deal_of, won


class Nim:
    """Seats take 1 to `most` stones in turn; who takes the last one wins. A move is a number, an observation is "nim 11": what is left.

    Whoever faces a multiple of most + 1 loses against perfect play; every other heap is won by leaving such a multiple. The heap at the
    start is drawn from `stones` by the task's `deal`.

    Args:
        stones: smallest and largest heap.
        most: stones that can be taken at once.
    """

    name = "nim"

    def __init__(self, stones: tuple[int, int] = (5, 12), most: int = 3):
        if not 1 <= stones[0] <= stones[1] or most < 1:
            raise UserError(f"environments.Nim: needs 1 <= smallest <= largest heap and most >= 1, got {list(stones)} and {most}")
        self.stones, self.most = tuple(stones), most
        self.left, self.seat = stones[0], 0

    def start(self, task: Task, seed: int) -> str:
        """The heap that the first seat sees."""
        self.left, self.seat = rng("nim", deal_of(task)).randint(*self.stones), 0
        return self._seen()

    @property
    def position(self) -> tuple[int, int]:
        """What the rest of the game depends on: the heap and who is to move."""
        return self.left, self.seat

    def legal(self) -> list[str]:
        """Moves that can be made now."""
        return [str(n) for n in range(1, min(self.most, self.left) + 1)]

    def step(self, action: str) -> tuple[str, bool, Mapping[str, float]]:
        """Take stones. Raises IllegalMove for anything else."""
        move = action.strip()
        if move not in self.legal():
            raise IllegalMove(f"{move!r} with {self.left} left")
        self.left -= int(move)
        mover, self.seat = self.seat, 1 - self.seat
        return self._seen(), self.left == 0, won(mover) if self.left == 0 else {}

    def _seen(self) -> str:
        return f"nim {self.left}"
