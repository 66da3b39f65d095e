"""What watches a run, and when it hears of what."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .store import RunDir

if TYPE_CHECKING:
    from .spec import RunSpec


class Observer:
    """What watches a run; `view.View` and the trackers are observers. Every method may be left as it is."""

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """The run begins or goes on."""

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""

    def line(self, line: Mapping[str, Any]) -> None:
        """A metrics line was committed; the stage after it may have begun."""

    def note(self, text: str) -> None:
        """Something a user should read."""

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """The run ended: "done", "stopped" or "failed"."""


class Audience:
    """The observers of one run. They hear of a stage's line once its commit is on disk, in the thread that the run is in: whenever
    something else is told, or a stage begins or moves."""

    def __init__(self, observers: Sequence[Observer], store: RunDir):
        self.observers, self._store = list(observers), store
        self._untold: deque[Mapping[str, Any]] = deque()
        self._thread = threading.current_thread()

    def tell(self, what: str, *args: Any) -> None:
        """Call a method of every observer."""
        for observer in self.observers:
            getattr(observer, what)(*args)

    def line(self, line: Mapping[str, Any]) -> None:
        """A stage's line, whose commit has begun."""
        self._untold.append(line)
        self.lines()

    def lines(self) -> None:
        """Tell of every line that is on disk by now."""
        while len(self._untold) > self._store.writing:
            self.tell("line", self._untold.popleft())

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""
        if threading.current_thread() is self._thread:
            self.lines()
        self.tell("progress", done, total, what)

    def lost(self, error: BaseException) -> None:
        """A commit failed, which has not been told as the run's end."""
        first = self._untold[0]
        self.tell("note", f"the commit of {first['path']}/{first['stage']} failed: {error}")
