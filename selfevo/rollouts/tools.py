"""A reply in which the policy may call a tool."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from ..errors import UserError
from ..protocols import Environment, EpisodeCtx, Seat, Tool
from ..records import Task, Trajectory
from .seating import seat_of
from .together import in_thread


class ToolLoop:
    """The policy writes a call, a stop string pauses it, the tool's answer is written into the reply, the policy goes on.

    One reply in pieces: policy turns, and turns of source "tool" in between, which builders keep in the context and mask from every
    loss. A reply that ends by itself, or is cut off by its limit, is over; `max_tokens` of the role bounds each piece. After `max_calls`
    pauses nothing pauses it any more, so that it can still give an answer. A pause at which `call` finds nothing counts as a call with
    the status "none" and writes nothing.

    The trajectory's keys count what happened, as a reward of an environment is kept: "env:calls" (calls that the tool answered),
    "env:failed" (those of them whose status was not "ok"), so `FromEnvironment(reward: calls)` reads them. Stateless; tools of several
    episodes work at the same time.

    Args:
        tool: what is called.
        call: regex that must match up to the end of what the policy has written since the last answer; group 1 is handed to the tool.
        stop: text that ends a call, kept in the reply.
        answer: how the answer is written; {output} stands for the tool's text.
        max_calls: pauses at most.
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(
        self,
        tool: Tool,
        call: str = r"```python\n(.*?)```\n",
        stop: str = "```\n",
        answer: str = "```output\n{output}\n```\n",
        max_calls: int = 4,
        role: str | None = None,
    ):
        if max_calls < 1:
            raise UserError(f"rollouts.ToolLoop: max_calls must be at least 1, got {max_calls}")
        if not stop or "{output}" not in answer:
            raise UserError("rollouts.ToolLoop: `stop` must be some text, and `answer` must hold {output}")
        try:
            self.pattern = re.compile(f"(?:{call})\\Z", re.DOTALL)
        except re.error as error:
            raise UserError(f"rollouts.ToolLoop: call is not a regular expression ({error})") from None
        if self.pattern.groups < 1:
            raise UserError("rollouts.ToolLoop: call needs a group, the part that is handed to the tool")
        self.tool, self.stop, self.answer, self.max_calls, self.role = tool, stop, answer, max_calls, role

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory."""
        talk = seat_of(seats, self.role).open(task)
        seen: Counter[str] = Counter()
        written = ""
        for number in range(self.max_calls):
            said = await talk.reply(stop=(self.stop,))
            written += said.text
            if said.finish != "stop" or not said.text.endswith(self.stop):
                break
            found = self.pattern.search(written)
            if found is None:
                seen["none"] += 1
                continue
            answer = await in_thread(self.tool, found[1], ctx.seed("tool", number))
            seen["calls"] += 1
            seen["failed"] += answer.status != "ok"
            talk.force(self.answer.replace("{output}", answer.text), source="tool")
            written = ""
            if talk.room < 1:
                return [talk.close("truncated", keys=_keys(seen))]
        else:
            await talk.reply()
        return [talk.close(keys=_keys(seen))]


def _keys(seen: Mapping[str, int]) -> dict[str, str]:
    return {f"env:{name}": str(float(seen.get(name, 0))) for name in ("calls", "failed")}
