"""Processes that begin as copies of this one, live on from call to call, and see a policy's weights as they are now."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

from ..errors import EngineError
from ..freed import give_back_freed_memory
from ..policies import LivePolicy
from ..records import Version
from .shared import Room, room_for, share

PATIENCE = 60.0, 10.0
"""Seconds, and times what the part of this process took: the longest wait for another one, whichever is more."""
HINT = "engine.processes=1 does without"
PR_SET_PDEATHSIG = 1
"""prctl(2): the signal that a process gets when the thread it was forked by ends."""


class Known:
    """A policy whose weights lie in memory that the workers share."""

    def __init__(self, policy: LivePolicy):
        self.policy = weakref.ref(policy)
        share(policy.model.parameters())
        self.room = room_for(policy.model.parameters())
        self.places = _places(policy.model)

    def is_(self, policy: LivePolicy) -> bool:
        """Whether this is it, each of its tensors where it was."""
        return self.policy() is policy and self.places == _places(policy.model)


class Workers:
    """`work(policy, made, *asked)` in several processes at once, where `made` is what `prepare(policy, room)` makes: here it fills the
    room, before anybody works, and in the others it finds the same tensors there.

    The other processes begin at the first call and end at `close`, with this process, or with the thread that called. A policy that they
    do not know, or whose tensors have been exchanged, has them begin anew; changes inside the tensors are seen at the next call.
    Nobody else may compute in this process while they begin.
    """

    def __init__(self, prepare: Callable[[LivePolicy, Room], Any], work: Callable[..., Any]):
        self.prepare, self.work = prepare, work
        self.known: list[Known] = []
        self._lines: list[tuple[int, Connection]] = []
        self._begun_by: tuple[int, threading.Thread] | None = None
        weakref.finalize(self, _end, self._lines, os.getpid())

    def do(self, policy: LivePolicy, parts: Sequence[tuple[Any, ...]]) -> list[Any]:
        """What `work` gives for each part: the first is done here, every other one by a worker.

        Arguments and results are pickled. Whoever calls has PyTorch's threads set to one. Raises what `work` raised, and EngineError for a
        process that ends or stalls without an answer; all of them have ended then.
        """
        at = self._ready(policy, len(parts) - 1)
        try:
            made = self.prepare(policy, self.known[at].room.again(fill=True))
            lines = self._lines[: len(parts) - 1]
            for (_, line), part in zip(lines, parts[1:], strict=True):
                _send(line, (at, policy.version, part))
            began = time.monotonic()
            results = [self.work(policy, made, *parts[0])]
            least, factor = PATIENCE
            end = time.monotonic() + max(least, factor * (time.monotonic() - began))
            results.extend(_answer(line, end) for _, line in lines)
        except BaseException:  # an answer that nobody waits for must not be taken for a later one's
            self.close()
            raise
        return results

    def close(self) -> None:
        """End the workers; a later call begins new ones."""
        _end(self._lines, self._begun_by[0] if self._begun_by else 0)

    def _ready(self, policy: LivePolicy, count: int) -> int:
        """Have `count` workers that know the policy; its place among those they know."""
        here = os.getpid(), threading.current_thread()
        at = next((i for i, known in enumerate(self.known) if known.is_(policy)), None)
        if at is None or self._begun_by != here or len(self._lines) < count or not all(map(_lives, self._lines)):
            self.close()
            self.known = [k for k in self.known if (p := k.policy()) is not None and p is not policy and k.is_(p)] + [Known(policy)]
            self._begun_by = here
            give_back_freed_memory()  # else what was kept would be copied, page by page, when this process writes there again
            for _ in range(count):
                self._lines.append(self._begin())
            at = len(self.known) - 1
        return at

    def _begin(self) -> tuple[int, Connection]:
        """(process, the line to it)."""
        parent = os.getpid()
        ours, theirs = Pipe()
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            raise EngineError(f"no process can be had for a part of the replies ({error.strerror}); {HINT}") from error
        if pid:
            theirs.close()
            return pid, ours
        try:  # nothing of the process this was copied from may run here: no collector, no handlers, no way back up the stack
            gc.disable()
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # whoever resumes a killed run must not find its lock held by this
            if os.getppid() == parent:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                _close_all_but(theirs.fileno())
                self._serve(theirs)
        finally:
            os._exit(1)

    def _serve(self, line: Connection) -> None:
        """Answer until nobody asks any more."""
        policies = [known.policy() for known in self.known]
        while True:
            try:
                at, version, part = line.recv()
            except EOFError:
                return
            policy = policies[at]
            assert policy is not None
            try:
                made = self.prepare(policy, self.known[at].room.again(fill=False))
                said: tuple[bool, Any] = True, self.work(replace(policy, version=version), made, *part)
            except Exception as error:  # raised again by the process that waits
                said = False, error
            line.send(said)


def _places(model: Any) -> tuple[int, ...]:
    return tuple(t.data_ptr() for t in model.parameters())


def _close_all_but(kept: int) -> None:
    """A file, pipe or socket that this process was copied with is not its own: held open here, it would outlive its end there."""
    for number in map(int, os.listdir("/proc/self/fd")):
        if number > 2 and number != kept:
            with suppress(OSError):  # the one that listed them
                os.close(number)


def _send(line: Connection, asked: tuple[int, Version, tuple[Any, ...]]) -> None:
    try:
        line.send(asked)
    except BrokenPipeError:
        raise _ended() from None


def _answer(line: Connection, end: float) -> Any:
    """What a worker gives. Raises what it raised."""
    if not line.poll(max(0.0, end - time.monotonic())):
        raise EngineError(f"a process that drew a part of the replies has stalled; {HINT}")
    try:
        fine, said = line.recv()
    except (EOFError, ConnectionResetError, pickle.UnpicklingError):
        raise _ended() from None
    if not fine:
        raise said
    return said


def _ended() -> EngineError:
    return EngineError(f"a process that drew a part of the replies has ended without them (out of memory?); {HINT}")


def _lives(line: tuple[int, Connection]) -> bool:
    return os.waitid(os.P_PID, line[0], os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _end(lines: list[tuple[int, Connection]], owner: int) -> None:
    """Kill what lives of them and wait for it, in the process whose they are."""
    while lines:
        pid, line = lines.pop()
        line.close()
        if os.getpid() == owner:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
