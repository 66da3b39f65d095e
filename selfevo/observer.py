"""What watches a run, and when it hears of what."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .spec import RunSpec


class Observer:
    """What watches a run; `view.View` and the trackers are observers. Every method may be left as it is.

    No two are called at a time, but `line` may be called in another thread than the rest.
    """

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
    """The observers of one run, called one at a time: for a stage's line in the thread that commits it, for all else in the run's."""

    def __init__(self, observers: Sequence[Observer]):
        self._observers = list(observers)
        self._turn = threading.RLock()

    def tell(self, what: str, *args: Any) -> None:
        """Call a method of every observer."""
        with self._turn:
            for observer in self._observers:
                getattr(observer, what)(*args)
