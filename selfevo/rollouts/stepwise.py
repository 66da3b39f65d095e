"""One reply in steps, each a turn of its own."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError
from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from .seating import seat_of


class Stepwise:
    """The reply of `Single`, written down as one policy turn per step: each ends with `stop`, the last one as the policy ends.

    Nobody speaks in between, so the policy sees what it sees in one piece; only the draws differ. Steps are then turns for whatever
    works by turns: rewards and ratios per step (`samples.EachTurn`), trees. Verifiers judge the steps joined. `max_tokens` of the role
    bounds each step. A reply that is not over after `max_steps`, or whose context is full, is truncated.

    Args:
        stop: text that ends a step, kept in it.
        max_steps: most steps, at least 1.
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(self, stop: str = "\n", max_steps: int = 32, role: str | None = None):
        if not stop:
            raise UserError("rollouts.Stepwise: `stop` must be some text")
        if max_steps < 1:
            raise UserError(f"rollouts.Stepwise: max_steps must be at least 1, got {max_steps}")
        self.stop, self.max_steps, self.role = stop, max_steps, role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory of as many policy turns as there are steps."""
        talk = seat_of(seats, self.role).open(task)
        for _ in range(self.max_steps):
            step = await talk.reply(stop=(self.stop,))
            if step.finish != "stop" or not step.text.endswith(self.stop):
                return [talk.close()]
            if talk.room < 1:
                break
        return [talk.close("truncated")]
