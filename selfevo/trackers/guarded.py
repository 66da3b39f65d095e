"""A tracker that cannot harm a run: what goes wrong in it is said once, and the run goes on without it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SelfevoError, Stopped

if TYPE_CHECKING:
    from ..observer import Observer
    from ..spec import RunSpec


class Guarded:
    """An observer that passes everything on to a tracker until it fails. `tell` is given the note about that.

    What it raises as a run begins stands if it is an error of selfevo (a missing package, a login): nothing is lost yet, and the run
    was to be tracked. Stopped, which asks the run to end, always passes.
    """

    def __init__(self, name: str, tracker: Observer, tell: Callable[[str], Any]):
        self.name, self.tracker, self._tell = name, tracker, tell
        self._failed = False

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """The run begins or goes on."""
        self._pass("start", spec, root, resumed)

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""
        self._pass("stage", path, stage, kind, iteration, total)

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""
        self._pass("progress", done, total, what)

    def line(self, line: Mapping[str, Any]) -> None:
        """A metrics line was committed."""
        self._pass("line", line)

    def note(self, text: str) -> None:
        """Something a user should read."""
        self._pass("note", text)

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """The run ended."""
        self._pass("finish", status, seconds)

    def _pass(self, what: str, *args: Any) -> None:
        if self._failed:
            return
        try:
            getattr(self.tracker, what)(*args)
        except Stopped:
            raise
        except Exception as error:  # of whatever kind: a tracker is other people's code, and the run's own files do not need it
            if what == "start" and isinstance(error, SelfevoError):
                raise
            self._failed = True
            said = " ".join(str(error).split()) or "no message"
            self._tell(f"tracker '{self.name}': {type(error).__name__}: {said}; the run goes on without it, and its own files are whole")
