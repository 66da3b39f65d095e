"""Where the time of a run goes: start (loading code and models), generate, score, train, io (waiting for files), and other (the rest)."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

KINDS = ("start", "generate", "score", "train", "io")


class Clock:
    """Wall seconds per kind of work, in one thread. Nested spans count once, for the innermost kind.

    `overlapped`: seconds of work that another thread did beside this one; they are in `seconds` too, which then sum to more than
    the wall's.
    """

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
        self.overlapped = 0.0
        self._stack: list[str] = []
        self._since = time.perf_counter()

    @contextmanager
    def span(self, kind: str) -> Iterator[None]:
        """Count what runs inside as `kind`."""
        if kind not in self.seconds:
            raise ValueError(f"unknown kind of time {kind!r} (valid: {', '.join(KINDS)})")
        self._settle()
        self._stack.append(kind)
        try:
            yield
        finally:
            self._settle()
            self._stack.pop()

    def read(self) -> dict[str, float]:
        """Seconds so far, by kind."""
        self._settle()
        return dict(self.seconds)

    def add(self, seconds: Mapping[str, float], overlapped: float) -> None:
        """Count the work of another thread, of which so many seconds passed beside this one."""
        for kind, value in seconds.items():
            self.seconds[kind] += value
        self.overlapped += overlapped

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now
