"""Noughts and crosses."""

from __future__ import annotations

from collections.abc import Mapping

from ..records import Task
from .game import IllegalMove, won

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


class TicTacToe:
    """Three in a row on nine squares; seat 0 is x, seat 1 o. A full board without a row is a draw (0 and 0).

    A move is the number of a free square. An observation is "xo3456789": nine squares, the free ones by their number 1 to 9.
    """

    name = "tic_tac_toe"

    def __init__(self) -> None:
        self.board, self.seat = "123456789", 0

    def start(self, task: Task, seed: int) -> str:
        """The empty board; there is nothing to deal."""
        self.board, self.seat = "123456789", 0
        return self.board

    @property
    def position(self) -> tuple[str, int]:
        """What the rest of the game depends on."""
        return self.board, self.seat

    def legal(self) -> list[str]:
        """Free squares."""
        return [square for square in self.board if square.isdigit()]

    def step(self, action: str) -> tuple[str, bool, Mapping[str, float]]:
        """Mark a square. Raises IllegalMove for anything that is no free one."""
        move = action.strip()
        if move not in self.legal():
            raise IllegalMove(f"{move!r} on {self.board}")
        mark = "xo"[self.seat]
        self.board = self.board.replace(move, mark)
        mover, self.seat = self.seat, 1 - self.seat
        if any(all(self.board[i] == mark for i in line) for line in LINES):
            return self.board, True, won(mover)
        full = not self.legal()
        return self.board, full, {"0": 0.0, "1": 0.0} if full else {}
