"""A closed list of replies, each weighed by the policy instead of sampled from it."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError, nearest
from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from .seating import seat_of


class Candidates:
    """One trajectory per candidate reply of the task; nothing is sampled. Its key "env:logp" is log P(reply | prompt), the sum over the
    reply's ids with its end, which the verifier part `FromEnvironment` reads (reward: logp); "candidate" is its number in the list.

    Args:
        field: task variable that holds the candidates: a list, or text with one on each line (as a prompt shows it).
        role: seat that weighs them; may be left out when the episode has only one.
    """

    def __init__(self, field: str = "candidates", role: str | None = None):
        self.field, self.role = field, role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """Trajectories in the order of the list. Raises UserError for a task without candidates."""
        given = task.vars.get(self.field)
        texts = [line for line in given.splitlines() if line.strip()] if isinstance(given, str) else [str(x) for x in given or ()]
        if not texts:
            raise UserError(f"rollouts.Candidates: task {task.id} has no '{self.field}' to choose from{nearest(self.field, task.vars)}")
        seat, out = seat_of(seats, self.role), []
        for number, text in enumerate(texts):
            talk = seat.open(task)
            turn = talk.record(text)
            logp = sum(await ctx.logprobs(seat, turn.context, turn.tokens))
            out.append(talk.close(keys={"env:logp": repr(logp), "candidate": str(number)}))
        return out
