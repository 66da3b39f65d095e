"""The sandbox as a component: settings, limits, and what became of a program."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError
from .workers import Pool, shared

Status = Literal["ok", "error", "timeout", "memory", "output", "processes", "lost"]
"""ok: ended with exit status 0. error: another exit status, an exception, a signal. timeout: out of wall or processor time. memory: a
MemoryError nobody caught, or too much over all its processes. output: printed too much. processes: had too many. lost: the sandbox
itself failed, twice; it says nothing about the program."""

STANDARD = (
    "bisect", "collections", "copy", "dataclasses", "datetime", "decimal", "fractions", "functools", "heapq", "itertools", "json", "math",
    "operator", "random", "re", "statistics", "string", "time", "typing",
)  # fmt: skip
"""Modules that workers have loaded when a program begins."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a program did. `code` is its exit status, or minus the signal that ended it; `stdout` and `stderr` hold at most the output
    limit; `seconds` is wall time, `cpu` processor time of all its processes."""

    status: Status
    code: int
    stdout: str
    stderr: str
    seconds: float
    cpu: float

    @property
    def last_line(self) -> str:
        """The last line of the error stream, which names the exception where there was one."""
        return self.stderr.rstrip().rsplit("\n", 1)[-1]


class Sandbox:
    """Runs Python programs that nobody trusts, each on its own.

    Under bubblewrap: no network, a read-only system and Python, none of this machine's other files, a /tmp of its own; every program is
    the first process of namespaces of its own, so everything that it started dies with it and nothing that it did reaches the next.
    Workers stay warm: a program costs one fork of a Python that has `STANDARD` and `preload` loaded. Programs start with `seed`
    in `random` and with ordered hashes, so that they repeat. Where bubblewrap is missing or does not work they are refused (UserError).

    Args:
        isolation: "bubblewrap", or "none": limits alone, for programs you trust as yourself.
        seconds: wall time of a program.
        cpu: processor seconds of each of its processes.
        memory: MiB of address space of each of its processes, and of memory of all together.
        processes: how many it may have at once, threads not counted.
        output: KiB of standard output and error together.
        files: MiB that it may write.
        workers: programs at a time; 0 takes one per processor, at most 8.
        preload: modules loaded ahead besides the standard ones; those that are no part of Python can be imported only if named here.
    """

    def __init__(
        self,
        isolation: Literal["bubblewrap", "none"] = "bubblewrap",
        seconds: float = 5.0,
        cpu: float = 5.0,
        memory: int = 256,
        processes: int = 16,
        output: int = 64,
        files: int = 16,
        workers: int = 0,
        preload: Sequence[str] = (),
    ):
        numbers = {"seconds": seconds, "cpu": cpu, "memory": memory, "processes": processes, "output": output, "files": files}
        for name, value in numbers.items():
            if value <= 0:
                raise UserError(f"sandbox: {name} must be above 0, got {value}")
        if memory < 64:
            raise UserError(f"sandbox: memory is {memory} MiB, less than Python itself needs; give at least 64")
        if workers < 0:
            raise UserError(f"sandbox: workers must be 0 or more, got {workers}")
        if isolation not in ("bubblewrap", "none"):
            raise UserError(f"sandbox: isolation is '{isolation}'; expected 'bubblewrap' or 'none'")
        self.isolation, self.preload = isolation, tuple(preload)
        self.workers = workers or min(8, len(os.sched_getaffinity(0)))
        self.limits = {**numbers, "output": output << 10}

    def run(self, programs: Sequence[str], stdin: Sequence[str] | str = "", seed: int = 0) -> list[Result]:
        """What became of each program, in order; `stdin` is one text for all or one each.

        A program with the status "lost" can be run again. Raises UserError where programs cannot be shut away.
        """
        inputs = [stdin] * len(programs) if isinstance(stdin, str) else list(stdin)
        asked = [{"code": c, "stdin": i, "seed": seed, **self.limits} for c, i in zip(programs, inputs, strict=True)]
        return [self._result(reply) for reply in self.pool().run(asked)]

    def pool(self) -> Pool:
        """The workers, shared by all sandboxes of this process with the same isolation and modules."""
        return shared(self.isolation, self.workers, (*STANDARD, *self.preload))

    def _result(self, reply: dict[str, object]) -> Result:
        if trouble := reply.pop("trouble", ""):
            reply = {**reply, "status": "lost", "stderr": trouble}
        return Result(**reply)  # type: ignore[arg-type]


def check() -> str:
    """"" when programs can be shut away here, else why not, in a line. Runs one."""
    try:
        result = Sandbox(workers=1).run(["print(6 * 7)"])[0]
    except UserError as error:
        return str(error).partition("here: ")[2].partition("; `isolation")[0] or str(error)
    return "" if result.stdout == "42\n" else f"a program ended as '{result.status}': {result.last_line}"
