"""Tasks that are read and not answered: what an optimizer that samples by itself starts from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory, Turn
from ..rollouts.seating import seat_of


class Unanswered:
    """One trajectory per task that holds the ids of the role's prompt and no token more: the context of an empty turn.

    The stage then records which tasks were asked, and in which words, at no cost; `trl.Grpo` lets TRL answer them.

    Args:
        role: seat that would reply; may be left out when the episode has only one.
    """

    def __init__(self, role: str | None = None):
        self.role = role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """The trajectory."""
        talk: Any = seat_of(seats, self.role).open(task)
        asked = talk.close()
        return [replace(asked, turns=(*asked.turns, Turn("data", "", context=talk.context)))]
