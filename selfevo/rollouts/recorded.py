"""Recorded replies in place of sampled ones: how a dataset enters a run."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError, nearest
from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from .seating import seat_of


class Recorded:
    """One trajectory per named field of the task, its reply taken from the data and nothing sampled.

    {solution: 1} makes demonstrations for a supervised fit; {chosen: 1, rejected: 0} makes the pairs of a preference dataset. The
    number is written as the trajectory's key "env:score", which the verifier part `FromEnvironment` reads as its reward, and
    the field's name as its key "recorded".

    Args:
        replies: task variable (or "answer", the task's reference) to the reward of that reply.
        role: seat whose prompt the replies answer; may be left out when the episode has only one.
    """

    def __init__(self, replies: Mapping[str, float], role: str | None = None):
        if not replies:
            raise UserError("rollouts.Recorded: replies names no field; expected for example {solution: 1}")
        self.replies, self.role = dict(replies), role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """A trajectory per field, in the order of `replies`. Raises UserError naming a field that the task lacks."""
        fields = {"answer": task.answer, **task.vars}
        out = []
        for name, reward in self.replies.items():
            text = fields.get(name)
            if text is None:
                there = [k for k, v in fields.items() if v is not None]
                raise UserError(f"rollouts.Recorded: task {task.id} has no field '{name}'{nearest(name, there)}")
            talk = seat_of(seats, self.role).open(task)
            talk.record(str(text))
            out.append(talk.close(keys={"env:score": repr(float(reward)), "recorded": name}))
        return out
