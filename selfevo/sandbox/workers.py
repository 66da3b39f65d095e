"""The main process's side: warm workers, each held to a deadline from outside, replaced when they die."""

from __future__ import annotations

import atexit
import json
import os
import queue
import select
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from ..errors import UserError
from .bubblewrap import absent, bare_command, command, environment

STARTUP = 60.0
"""Seconds a worker may take to load its modules."""
GRACE = 10.0
"""Seconds after a program's own deadline at which its worker is given up, whatever it does."""
LARGEST = 1 << 28
"""Bytes of a reply beyond which it is no reply."""

FIRST_TO_GO = ("/bin/sh", "-c", 'echo 1000 2>/dev/null >/proc/self/oom_score_adj; exec "$0" "$@"')
"""Should the machine run out of memory after all, its programs go before the run does."""

T = TypeVar("T")


class Lost(Exception):
    """A worker died, or did not keep its deadline."""


class Worker:
    """One process that runs one program at a time. Made in the thread `_birth`, since a worker ends with the thread that made it."""

    def __init__(self, isolation: str, preload: Sequence[str]):
        self.link, theirs = socket.socketpair()
        self._poll = select.poll()  # not select.select, which knows no descriptor beyond 1023
        self._poll.register(self.link, select.POLLIN)
        line = command(preload) if isolation == "bubblewrap" else bare_command(preload)
        said = tempfile.TemporaryFile()  # noqa: SIM115 (closed once it is ready)
        try:
            self.process = subprocess.Popen(
                [*FIRST_TO_GO, *line], stdin=theirs.fileno(), stdout=said, stderr=said, start_new_session=True, cwd="/",
                env=environment(preload),
            )  # fmt: skip
        except OSError as error:
            self.link.close()
            raise Lost(f"{line[0]}: {error.strerror}") from error
        finally:
            theirs.close()
        try:
            self._receive(time.monotonic() + STARTUP)
        except Lost:
            self.close()
            said.seek(0)
            lines = said.read().decode(errors="replace").strip().splitlines()
            raise Lost(lines[-1] if lines else "it ended at once") from None
        finally:
            said.close()

    def ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The reply to one program. Raises Lost."""
        deadline = time.monotonic() + request["seconds"] + GRACE
        body = json.dumps(request).encode()
        try:
            self.link.settimeout(GRACE)
            self.link.sendall(len(body).to_bytes(4, "big") + body)
        except OSError as error:
            raise Lost(f"its worker is gone ({error})") from error
        return self._receive(deadline)

    def _receive(self, deadline: float) -> dict[str, Any]:
        size = int.from_bytes(self._take(4, deadline), "big")
        if size > LARGEST:
            raise Lost(f"its worker announced {size} bytes")
        return dict(json.loads(self._take(size, deadline)))

    def _take(self, size: int, deadline: float) -> bytes:
        data = bytearray()
        while len(data) < size:
            if not self._poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Lost("its worker did not answer in time")
            try:
                some = self.link.recv(size - len(data))
            except OSError as error:
                raise Lost(f"its worker is gone ({error})") from error
            if not some:
                raise Lost("its worker died")
            data += some
        return bytes(data)

    def close(self) -> None:
        """End it with everything in it, and wait for that."""
        self.link.close()
        self.process.kill()
        self.process.wait()


class Pool:
    """Up to `size` workers, made when they are needed. Thread-safe."""

    def __init__(self, isolation: str, size: int, preload: Sequence[str]):
        self.isolation, self.size, self.preload, self.owner = isolation, size, tuple(preload), os.getpid()
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        for _ in range(size):
            self._idle.put(None)  # a place for a worker yet to be made
        self._threads = ThreadPoolExecutor(size, "sandbox")

    def run(self, requests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """A reply each, in order; what a worker died on twice has the status "lost"."""
        if len(requests) <= 1:
            return [self.one(request) for request in requests]
        return list(self._threads.map(self.one, requests))

    def one(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Run one program on the next worker that is free. Raises UserError when no worker can start."""
        worker = self._idle.get()
        try:
            for attempt in range(2):
                if worker is None:
                    worker = self._start()
                try:
                    return worker.ask(request)
                except Lost as lost:
                    worker.close()
                    worker, why = None, str(lost)
                    if attempt or "in time" in why:
                        break
            return {"status": "lost", "code": -1, "stdout": "", "stderr": why, "cpu": 0.0, "seconds": 0.0}
        finally:
            self._idle.put(worker)

    def _start(self) -> Worker:
        try:
            return _birth(lambda: Worker(self.isolation, self.preload))
        except Lost as lost:
            if self.isolation == "none":
                raise UserError(f"sandbox: a worker could not start: {lost} (selfevo doctor says what is missing)") from None
            raise UserError(refusal(str(lost))) from None

    def close(self) -> None:
        """End the workers that are not at work; the next call makes new ones."""
        found = [self._idle.get() for _ in range(self._idle.qsize())]
        for worker in found:
            if worker is not None:
                worker.close()
            self._idle.put(None)


def refusal(why: str) -> str:
    """The one line with which untrusted programs are refused."""
    return f"sandbox: programs are not run, since they cannot be shut away here: {why}; `isolation: none` runs them without protection"


_maker: tuple[int, ThreadPoolExecutor] | None = None
_lock = threading.Lock()


def _birth(make: Callable[[], T]) -> T:
    """Call `make` in a thread that lasts as long as this process: a child that dies with its parent dies with that thread."""
    global _maker
    with _lock:
        if _maker is None or _maker[0] != os.getpid():
            _maker = (os.getpid(), ThreadPoolExecutor(1, "sandbox-birth"))
    return _maker[1].submit(make).result()


_POOLS: dict[tuple[object, ...], Pool] = {}


def shared(isolation: str, size: int, preload: Sequence[str]) -> Pool:
    """This process's pool for these settings, made on first use and closed at exit. Raises UserError where nothing can be shut away."""
    if isolation == "bubblewrap" and (why := absent()):
        raise UserError(refusal(why))
    key = (os.getpid(), isolation, size, *preload)
    with _lock:
        if key not in _POOLS:
            _POOLS[key] = Pool(isolation, size, preload)
        return _POOLS[key]


@atexit.register
def close_all() -> None:
    """End every worker of this process."""
    for pool in _POOLS.values():
        if pool.owner == os.getpid():
            pool.close()
