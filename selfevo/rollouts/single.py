"""One prompt, one reply."""

from __future__ import annotations

from collections.abc import Mapping

from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from .seating import seat_of


class Single:
    """The plain episode: the role reads the task and replies once. `MultiTurn(max_turns=1)` equals it.

    Args:
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(self, role: str | None = None):
        self.role = role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory of one policy turn (after the task's own turns when it resumes some)."""
        talk = seat_of(seats, self.role).open(task)
        await talk.reply()
        return [talk.close()]
