"""What games share."""

from __future__ import annotations

from collections.abc import Mapping

from ..records import Task


class IllegalMove(Exception):
    """A move that the rules do not allow. The game stands as before; who plays it decides what follows (`rollouts.SelfPlay`)."""


def deal_of(task: Task) -> int:
    """The number that decides a game's start: the task's variable `deal`, 0 where it has none."""
    return int(task.vars.get("deal", 0))


def won(winner: int) -> Mapping[str, float]:
    """Payoffs of a game of two that seat `winner` won: 1 and -1, under the seats' numbers."""
    return {str(seat): 1.0 if seat == winner else -1.0 for seat in (0, 1)}
