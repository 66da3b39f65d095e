"""Several roles answer one task, each on its own."""

from __future__ import annotations

from collections.abc import Mapping

from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory


class Each:
    """Every seat reads the task and replies once; none sees another's reply.

    One episode gives one trajectory per seat, in the order of the seats, all with the episode's keys: the replies of all roles to a task
    are one group, and `where: {role: a}` takes them apart again. A seat's draws do not depend on the others: with one seat this is
    `Single`.
    """

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """A trajectory of one policy turn per seat."""
        spoken = []
        for seat in seats.values():  # one after the other, so that the episodes of a stage ask each policy at the same time
            talk = seat.open(task)
            await talk.reply()
            spoken.append(talk.close())
        return spoken
