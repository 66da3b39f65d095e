"""Reward 1 for an answer that is mathematically equal to the reference."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, Where, normalise
from .exact import NO_REFERENCE
from .plain import settled
from .pool import Reply, shared

WORKER = "selfevo.verifiers.math_worker"


class Math:
    """1.0 when math-verify finds the answer equal to `task.answer` (LaTeX or plain), else 0.0.

    Answers equal as text are right without further ado, plain numbers are compared here (`plain.settled`), equal questions of one call
    are asked once; the rest is compared in worker processes that are killed at the deadline, so one bad expression costs `timeout`
    seconds and no more. Status "timeout" then, and "error" for a comparison that breaks, runs out
    of memory, or whose worker dies twice: never a zero. An answer that is no mathematics, or longer than `longest`, scores 0. Workers
    stay warm between calls.

    Args:
        extract, pattern: as in `Exact`.
        timeout: seconds for one answer.
        workers: processes; 0 takes one per processor, at most 8.
        memory: MiB of address space per worker.
        longest: characters; no reference answer is near it.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(
        self,
        extract: Where = "marked",
        pattern: str | None = None,
        timeout: float = 5.0,
        workers: int = 0,
        memory: int = 2048,
        longest: int = 2000,
    ):
        if timeout <= 0 or workers < 0 or memory < 512 or longest < 1:
            got = f"{timeout}, {workers}, {memory}, {longest}"
            raise UserError(f"math: needs timeout > 0, workers >= 0, memory >= 512, longest >= 1; got {got}")
        self.extract, self.timeout, self.workers, self.memory, self.longest = Extract(extract, pattern), timeout, workers, memory, longest

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with the reward under `ctx.name`."""
        out = [self._quick(row, ctx.name) for row in rows]
        unsure = [i for i, row in enumerate(out) if ctx.name not in row.score.statuses]
        if unsure:
            asked = [(out[i].trajectory.task.answer, out[i].score.info["answer"]) for i in unsure]
            different = list(dict.fromkeys(asked))
            pool = shared(WORKER, self.workers or min(8, os.cpu_count() or 1), [str(self.memory)])
            replies = pool.run([{"gold": gold, "answer": answer} for gold, answer in different], self.timeout)
            said = dict(zip(different, replies, strict=True))
            for i, pair in zip(unsure, asked, strict=True):
                out[i] = self._told(out[i], said[pair], ctx.name)
        return out

    def _quick(self, row: Row, name: str) -> Row:
        """The row judged as text or plain number; one that this cannot settle has its answer but no status of this part."""
        row = replace(row, score=replace(row.score, statuses={k: v for k, v in row.score.statuses.items() if k != name}))
        reference = row.trajectory.task.answer
        if reference is None:
            return row.failed(name, "abstain", NO_REFERENCE)
        found = self.extract(row.trajectory.text)
        if found is None:
            return row.rewarded(name, 0.0)
        answer = normalise(found)
        right = answer == normalise(reference) or (False if len(answer) > self.longest else settled(reference, answer))
        if right is not None:
            return row.rewarded(name, float(right), info={"answer": answer})
        return replace(row, score=replace(row.score, info={**row.score.info, "answer": answer}))

    def _told(self, row: Row, reply: Reply, name: str) -> Row:
        if "right" in reply:
            return row.rewarded(name, float(reply["right"]))
        if "timeout" in reply:
            return row.failed(name, "timeout", f"no verdict within {self.timeout:g} s")
        return row.failed(name, "error", reply["error"])
