"""A call of `generate` in parts, each in a process with one thread: on small products two threads wait for each other half the time."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from ..errors import EngineError
from ..protocols import GenerateRequest

R = TypeVar("R")

ROWS = 32
"""Fewest replies of a part: fewer do not repay the process, and the weights that it reads anew."""
PATIENCE = 60.0, 10.0
"""Seconds, and times what the part of this process took: the longest wait for another one, whichever is more."""
HINT = "engine.processes=1 does without"
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the one it was forked from dies."""


def possible() -> bool:
    """Whether this system forks processes that may go on computing."""
    return sys.platform == "linux"


def deal(requests: Sequence[GenerateRequest], parts: int) -> list[list[int]]:
    """Which requests go to which part, as indices in their order. Equal contexts stay together unless they are more than a part's share.

    A function of the requests and the number of parts alone. Requests come with equal contexts side by side.
    """
    share = -(-len(requests) // parts)
    groups: list[list[int]] = []
    for i, request in enumerate(requests):
        if not groups or len(groups[-1]) == share or requests[groups[-1][0]].context != request.context:
            groups.append([])
        groups[-1].append(i)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for group in sorted(groups, key=len, reverse=True):
        min(dealt, key=len).extend(group)
    return [sorted(part) for part in dealt if part]


def divided(jobs: Sequence[Callable[[], R]]) -> list[R]:
    """What each job gives: the first is done here, every other one in a process that begins as a copy of this one and ends with it.

    A job must leave nothing behind but its result, which is pickled. PyTorch's threads are no concern of this function: whoever calls
    it has them set to one. Raises what a job raised, and EngineError for a process that ends or stalls without an answer.
    """
    children: list[tuple[int, int]] = []
    try:
        for job in jobs[1:]:
            children.append(_fork(job))
        began = time.monotonic()
        results = [jobs[0]()]
        least, factor = PATIENCE
        end = time.monotonic() + max(least, factor * (time.monotonic() - began))
        for pid, pipe in children:
            fine, said = _answer(pid, pipe, end)
            if not fine:
                raise said
            results.append(said)
        return results
    finally:
        for pid, pipe in children:
            os.close(pipe)
            os.kill(pid, signal.SIGKILL)  # it has answered, or nobody wants its answer any more
            os.waitpid(pid, 0)


def _fork(job: Callable[[], Any]) -> tuple[int, int]:
    """(process, the end of a pipe that its answer comes through)."""
    parent = os.getpid()
    reading, writing = os.pipe()
    try:
        pid = os.fork()
    except OSError as error:
        os.close(reading)
        os.close(writing)
        raise EngineError(f"no process can be had for a part of the replies ({error.strerror}); {HINT}") from error
    if pid:
        os.close(writing)
        return pid, reading
    try:  # nothing of the process this was copied from may run here: no collector, no handlers, no way back up the stack
        gc.disable()
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever resumes a killed run must not find its lock held by this
        if os.getppid() != parent:
            os._exit(1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        try:
            said: tuple[bool, Any] = True, job()
        except Exception as error:  # raised again by the process that waits
            said = False, error
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(said, pipe, pickle.HIGHEST_PROTOCOL)
    finally:
        os._exit(1)


def _answer(pid: int, pipe: int, end: float) -> tuple[bool, Any]:
    """(True, result) or (False, error) of a child."""
    chunks: list[bytes] = []
    while True:
        ready, _, _ = select.select([pipe], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            raise EngineError(f"a process that drew a part of the replies has stalled; {HINT}")
        chunk = os.read(pipe, 1 << 20)
        if not chunk:
            break
        chunks.append(chunk)
    try:
        fine, said = pickle.loads(b"".join(chunks))
    except (EOFError, pickle.UnpicklingError):
        raise EngineError(f"a process that drew a part of the replies has ended without them (out of memory?); {HINT}") from None
    return fine, said
