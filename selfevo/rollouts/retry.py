"""A reply that is drawn again until it can be read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import UserError
from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Cost, Task, Trajectory
from .seating import seat_of


class Retry:
    """`Single`, drawn again while `pattern` is not in the reply, `tries` times at most: judges whose verdict cannot be read.

    The last reply is kept, whatever it says; the tokens of those before it are `discarded_tokens` of its cost. The key "tries" says how
    many were drawn. With `tries` 1 it is `Single`, draw for draw.

    Args:
        pattern: regex that a reply must hold somewhere.
        tries: draws at most.
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(self, pattern: str, tries: int = 3, role: str | None = None):
        if tries < 1:
            raise UserError(f"rollouts.Retry: tries must be at least 1, got {tries}")
        try:
            self.pattern = re.compile(pattern)
        except re.error as error:
            raise UserError(f"rollouts.Retry: pattern is not a regular expression ({error})") from None
        self.tries, self.role = tries, role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory."""
        seat, spent = seat_of(seats, self.role), Cost()
        for number in range(self.tries):
            talk = seat.open(task)
            said = await (talk.reply("again", number) if number else talk.reply())
            if self.pattern.search(said.text) or number == self.tries - 1:
                break
            spent += Cost(prompt_tokens=len(said.context), discarded_tokens=len(said.tokens), calls=1)
        kept = talk.close(keys={"tries": str(number + 1)})
        return [replace(kept, cost=kept.cost + spent)]
