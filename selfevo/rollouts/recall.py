"""A reply in which the policy may look something up in a memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace

from ..errors import UserError
from ..protocols import Environment, EpisodeCtx, Retriever, Seat
from ..records import Task, Trajectory
from ..spec.refs import MemoryRef
from .seating import seat_of


class Recall:
    """The policy writes <tag>query</tag>, which pauses it; what `retrieve` chooses of the memory for the query is written into the reply
    as a turn of source "tool", which builders mask from every loss; the policy goes on. At most `max_calls` times.

    The names of all chosen files, each once, are the trajectory's key "read:<memory>" (a JSON list), the number of look-ups is
    "env:calls". The memory is read at the version bound for the stage.

    Args:
        memory: name of the memory.
        retrieve: chooses files by the task variable `query`.
        tag: name of the tag.
        answer: how the result is written; {output} stands for the texts, one on each line.
        max_calls: most look-ups.
        role: seat that replies; may be left out when the episode has only one.
    """

    def __init__(
        self,
        memory: MemoryRef,
        retrieve: Retriever,
        tag: str = "search_experience",
        answer: str = "\n<experience>\n{output}</experience>\n",
        max_calls: int = 10,
        role: str | None = None,
    ):
        if max_calls < 1 or "{output}" not in answer or not re.fullmatch(r"\w+", tag):
            raise UserError("rollouts.Recall: max_calls must be at least 1, `tag` a word, and `answer` must hold {output}")
        self.memory, self.retrieve, self.tag, self.answer, self.max_calls, self.role = memory, retrieve, tag, answer, max_calls, role
        self._call = re.compile(rf"<{tag}>((?:(?!<{tag}>).)*)</{tag}>\Z", re.DOTALL)

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """One trajectory."""
        talk, files, read, calls, status = seat_of(seats, self.role).open(task), ctx.read(self.memory), {}, 0, None
        while True:
            said = await talk.reply(**({"stop": (f"</{self.tag}>",)} if calls < self.max_calls else {}))
            found = self._call.search(said.text) if said.finish == "stop" else None
            if found is None or calls == self.max_calls:
                break
            calls += 1
            chosen = self.retrieve(files, replace(task, vars={**task.vars, "query": found[1].strip()}))
            read.update(dict.fromkeys(chosen))
            talk.force(self.answer.replace("{output}", "".join(text.rstrip("\n") + "\n" for text in chosen.values())), source="tool")
            if talk.room < 1:
                status = "truncated"
                break
        return [talk.close(status, keys={f"read:{self.memory}": json.dumps(list(read)), "env:calls": str(float(calls))})]
