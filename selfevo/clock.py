"""Where the time of a run goes: start (loading code and models), generate, score, train, io, and other (the rest)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

KINDS = ("start", "generate", "score", "train", "io")


class Clock:
    """Wall seconds per kind of work. Nested spans count once, for the innermost kind."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(KINDS, 0.0)
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

    def _settle(self) -> None:
        now = time.perf_counter()
        if self._stack:
            self.seconds[self._stack[-1]] += now - self._since
        self._since = now
