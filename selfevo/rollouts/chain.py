"""A chain of solutions: solve, then check and refine, again and again, each time in a fresh conversation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import UserError
from ..protocols import Environment, EpisodeCtx, Seat
from ..records import Task, Trajectory
from ..spec.refs import PromptName
from .seating import seat_of


class Chain:
    """Solve once, then `hops` times: criticise the last solution (with `verify`) and write a new one (`refine`).

    Every call starts a conversation of its own, which shows the task, the last solution as `response` and, with `verify`, what was
    said of it as `feedback`; nothing else is remembered. There is no acceptance test and no early stop: a critique is text, never a gate
    (Liu et al. 2025, "Deep Self-Evolving Reasoning", arXiv:2510.17498). Without `verify` this is repeated self-revision.

    Each solution is a trajectory with the key `hop` (0 for the first), each critique one with the key `check` (the hop it judges); each
    names the solution it follows as its parent. Only the last solution is `final`. With `hops` 0 an episode is that of `Single`, draw for
    draw. Chains of one task are told apart by their `episode` (and the key `sample`). A solution that leaves no room for the next call
    ends its chain: it is then the final one, and truncated.

    Args:
        hops: refinements after the first solution.
        refine: prompt of a refinement, with the variables {response} and {feedback}.
        verify: prompt of a critique, with the variable {response}; None: there is none.
        variables: further variables of both prompts, such as {feedback: "try again"} where nothing is verified.
        forget: a regex; what it matches in a solution (thinking) is not shown to the next call.
        role: seat that solves and refines. critic: seat that verifies; None: the same.
    """

    def __init__(
        self,
        hops: int,
        refine: PromptName = "revise",
        verify: PromptName | None = None,
        variables: Mapping[str, str] | None = None,
        forget: str | None = None,
        role: str | None = None,
        critic: str | None = None,
    ):
        if hops < 0:
            raise UserError(f"rollouts.Chain: hops must be 0 or more, got {hops}")
        if critic is not None and verify is None:
            raise UserError("rollouts.Chain: a critic needs `verify`, the prompt it answers")
        try:
            self.forget = None if forget is None else re.compile(forget, re.DOTALL)
        except re.error as error:
            raise UserError(f"rollouts.Chain: forget: {forget!r} is not a regular expression: {error}") from None
        self.hops, self.refine, self.verify, self.variables = hops, refine, verify, dict(variables or {})
        self.role, self.critic = role, critic

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """The trajectories in the order in which they were spoken."""
        seat = seat_of(seats, self.role)
        critic = seat if self.critic is None else seat_of(seats, self.critic)
        talk = seat.open(task)
        await talk.reply()
        last = talk.close(keys={"hop": "0", "final": "no"})
        spoken, full = [last], False
        for hop in range(1, self.hops + 1):
            shown = {**self.variables, "response": self._kept(last.text)}
            if self.verify is not None:
                talk = critic.open(task, self.verify, **shown)
                if full := talk.room < 1:
                    break
                shown["feedback"] = (await talk.reply("check", hop - 1)).text
                spoken.append(replace(talk.close(keys={"check": str(hop - 1), "final": "no"}), parent=last.id))
            talk = seat.open(task, self.refine, **shown)
            if full := talk.room < 1:
                break
            await talk.reply("hop", hop)
            last = replace(talk.close(keys={"hop": str(hop), "final": "no"}), parent=last.id)
            spoken.append(last)
        end = replace(last, keys={**last.keys, "final": "yes"}, status="truncated" if full else last.status)
        return [end if t.id == last.id else t for t in spoken]

    def _kept(self, text: str) -> str:
        return text if self.forget is None else self.forget.sub("", text).strip()
