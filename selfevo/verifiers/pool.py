"""Worker processes with a deadline that holds: whatever takes too long is killed (SIGKILL) and replaced.

In-process time-outs cannot stop C code (a huge integer power) and need the main thread; a process can always be killed.
"""

from __future__ import annotations

import atexit
import json
import os
import selectors
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import SelfevoError

STARTUP = 120.0
"""Seconds a worker may take to load its libraries."""

Reply = Mapping[str, Any]
TIMEOUT: Reply = {"timeout": True}


class Worker:
    """One process of `module`, with pipes. Its standard error goes nowhere unless it fails to start."""

    def __init__(self, module: str, arguments: Sequence[str]):
        root = str(Path(__file__).resolve().parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, *arguments],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path}, start_new_session=True,
        )  # fmt: skip
        self.buffer = b""
        self.ready = False
        self.job: int | None = None
        self.deadline = time.monotonic() + STARTUP

    @property
    def out(self) -> int:
        assert self.process.stdout is not None
        return self.process.stdout.fileno()

    def send(self, job: int, request: Mapping[str, Any], timeout: float) -> None:
        """Give it a request. A worker that has died meanwhile is noticed when its output is read."""
        assert self.process.stdin is not None
        self.job, self.deadline = job, time.monotonic() + timeout
        try:
            self.process.stdin.write(json.dumps({**request, "timeout": timeout}).encode() + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return  # dead: `lines` will tell

    def lines(self) -> list[Any] | None:
        """Whole lines that have arrived, decoded; None when the process has closed its output."""
        data = os.read(self.out, 1 << 16)
        if not data:
            return None
        *whole, self.buffer = (self.buffer + data).split(b"\n")
        return [json.loads(line) for line in whole]

    def kill(self) -> int:
        """End it now, leave no zombie; its exit status."""
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            try:
                pipe.close()
            except BrokenPipeError:
                continue  # unsent bytes for a dead process
        return status


class Pool:
    """Up to `workers` warm processes of `module`, kept between calls. Thread-safe: calls queue."""

    def __init__(self, module: str, workers: int, arguments: Sequence[str] = ()):
        self.module, self.size, self.arguments = module, workers, tuple(arguments)
        self.workers: list[Worker] = []
        self.owner = os.getpid()
        self._lock = threading.Lock()

    def run(self, requests: Sequence[Mapping[str, Any]], timeout: float) -> list[Reply]:
        """One reply per request, in order: the worker's, `TIMEOUT`, or {"error": ...} for a worker that died on it twice.

        A worker that dies on a request is replaced and the request tried once more, for it may have been killed for another's sake (an
        out-of-memory killer). Raises SelfevoError when no worker can start.
        """
        with self._lock:
            try:
                return _Round(self, requests, timeout).run()
            except BaseException:
                self._close()  # a late reply must not be taken for the next request's
                raise

    def close(self) -> None:
        """Kill all workers; the next call starts new ones."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        while self.workers:
            self.workers.pop().kill()

    def start(self) -> Worker:
        """One more worker."""
        worker = Worker(self.module, self.arguments)
        self.workers.append(worker)
        return worker

    def drop(self, worker: Worker) -> int:
        """Kill one worker; its exit status."""
        self.workers.remove(worker)
        return worker.kill()


class _Round:
    """One call of `Pool.run`: hands requests to idle workers and waits for replies or deadlines."""

    def __init__(self, pool: Pool, requests: Sequence[Mapping[str, Any]], timeout: float):
        self.pool, self.requests, self.timeout = pool, requests, timeout
        self.waiting = deque(range(len(requests)))
        self.replies: dict[int, Reply] = {}
        self.tries = [0] * len(requests)

    def run(self) -> list[Reply]:
        while len(self.replies) < len(self.requests):
            self._staff()
            for worker in self.pool.workers:
                if worker.ready and worker.job is None and self.waiting:
                    job = self.waiting.popleft()
                    self.tries[job] += 1
                    worker.send(job, self.requests[job], self.timeout)
            self._wait()
        return [self.replies[i] for i in range(len(self.requests))]

    def _staff(self) -> None:
        """As many workers as there is work for."""
        busy = sum(w.job is not None for w in self.pool.workers)
        while len(self.pool.workers) < min(self.pool.size, busy + len(self.waiting)):
            self.pool.start()

    def _wait(self) -> None:
        """Until a worker speaks, dies or runs out of time."""
        active = [w for w in self.pool.workers if w.job is not None or not w.ready]
        with selectors.DefaultSelector() as selector:
            for worker in active:
                selector.register(worker.out, selectors.EVENT_READ, worker)
            pause = min(w.deadline for w in active) - time.monotonic()
            spoke = [key.data for key, _ in selector.select(max(0.0, pause))]
        for worker in spoke:
            self._hear(worker)
        now = time.monotonic()
        for worker in active:
            if worker in self.pool.workers and worker.deadline <= now and (worker.job is not None or not worker.ready):
                self._late(worker)

    def _hear(self, worker: Worker) -> None:
        lines = worker.lines()
        if lines is None:
            self._died(worker)
            return
        for line in lines:
            if not worker.ready:
                worker.ready = True
            elif worker.job is not None:
                self.replies[worker.job] = line
                worker.job = None
                if line.get("spent"):
                    self.pool.drop(worker)

    def _died(self, worker: Worker) -> None:
        job, status = worker.job, self.pool.drop(worker)
        if not worker.ready:
            raise SelfevoError(f"a worker process of {self.pool.module} could not start (exit status {status}): {self._reason()}")
        assert job is not None
        if self.tries[job] < 2:
            self.waiting.appendleft(job)
        else:
            self.replies[job] = {"error": f"the worker process died on it twice (exit status {status})"}

    def _late(self, worker: Worker) -> None:
        if not worker.ready:
            raise SelfevoError(f"a worker process of {self.pool.module} was not ready after {STARTUP:g} s")
        assert worker.job is not None
        self.replies[worker.job] = TIMEOUT
        self.pool.drop(worker)

    def _reason(self) -> str:
        """The last line of what the worker says when it is started with its input closed."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", self.pool.module, *self.pool.arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=STARTUP, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        )  # fmt: skip
        return done.stderr.strip().rsplit("\n", 1)[-1] or "no message"


_POOLS: dict[tuple[object, ...], Pool] = {}


def shared(module: str, workers: int, arguments: Sequence[str] = ()) -> Pool:
    """The pool of this process for these settings, made on first use and closed at exit."""
    key = (os.getpid(), module, workers, *arguments)
    if key not in _POOLS:
        _POOLS[key] = Pool(module, workers, arguments)
    return _POOLS[key]


@atexit.register
def _close_all() -> None:
    for pool in _POOLS.values():
        if pool.owner == os.getpid():
            pool.close()
