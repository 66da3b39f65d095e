"""A conversation of several turns with an environment, or with a fixed follow-up."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from ..errors import UserError
from ..prompts import fields, render
from ..protocols import Dialogue, Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from .by_reply import by_reply
from .seating import seat_of


class MultiTurn:
    """Reply, hear, reply, ... up to `max_turns` replies.

    With an environment, each reply is its action: the observation is heard until the environment says the episode is over. The first
    observation is offered to the prompt as the variable `observation`. The rewards it gives are summed by name and written into the
    trajectory's keys as "env:<name>", where a verifier part finds them. Without one, `follow_up` is heard after every reply but the last.
    An episode still going at `max_turns`, or whose context is full, is truncated. `max_turns` 1 without an environment is `Single`.

    Args:
        max_turns: most replies of the policy, at least 1.
        follow_up: what is said between replies when there is no environment, a template over the task's variables ("{question}" asks
            again); "" ends after one reply.
        each: record every reply as a trajectory of its own, with the key `hop` (see `by_reply`), so that all of them are judged.
        role: seat that replies; may be left out when the episode has only one.
        hear_as: chat role of what is heard ("user", or "tool" where the chat template knows it).
    """

    def __init__(self, max_turns: int = 4, follow_up: str = "", role: str | None = None, hear_as: str = "user", each: bool = False):
        if max_turns < 1:
            raise UserError(f"rollouts.MultiTurn: max_turns must be at least 1, got {max_turns}")
        try:
            fields(follow_up)
        except ValueError as error:
            raise UserError(f"rollouts.MultiTurn: follow_up is no template: {error} (write {{{{ and }}}} for braces)") from None
        self.max_turns, self.follow_up, self.role, self.hear_as, self.each = max_turns, follow_up, role, hear_as, each

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory, or with `each` one per reply."""
        whole = await self._converse(task, seat_of(seats, self.role), env, ctx)
        return by_reply(whole) if self.each else [whole]

    async def _converse(self, task: Task, seat: Seat, env: Environment | None, ctx: EpisodeCtx) -> Trajectory:
        if env is not None:
            return await self._with_env(seat.open(task, observation=env.start(task, ctx.seed("env"))), env)
        talk = seat.open(task)
        await talk.reply()
        for _ in range(self.max_turns - 1 if self.follow_up else 0):
            [said] = render(self.follow_up, task.vars, "rollouts.MultiTurn: follow_up")
            talk.hear(said.content, source="data", role=self.hear_as)
            if talk.room < 1:
                return talk.close("truncated")
            await talk.reply()
        return talk.close()

    async def _with_env(self, talk: Dialogue, env: Environment) -> Trajectory:
        rewards: defaultdict[str, float] = defaultdict(float)
        for turn in range(self.max_turns):
            reply = await talk.reply()
            observation, done, given = env.step(reply.text)
            for name, value in given.items():
                rewards[name] += value
            if done or turn == self.max_turns - 1:
                break
            talk.hear(observation, source="env", role=self.hear_as)
            if talk.room < 1:
                break
        keys = {f"env:{name}": repr(float(value)) for name, value in rewards.items()}
        return talk.close(None if done else "truncated", keys=keys)
