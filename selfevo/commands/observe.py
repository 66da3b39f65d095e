"""Who watches a run besides its own files: the trackers of the spec, the report at its end, the log, the live view."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..observer import Observer
from ..spec import build

if TYPE_CHECKING:
    from ..spec import RunSpec


def observers(spec: RunSpec, view: Observer) -> list[Observer]:
    """Observers of one run, in the order they are told: the view's closing words come last, when the report is there."""
    from ..trackers.guarded import Guarded
    from ..view import LogFile

    log: Any = LogFile()

    def tell(text: str) -> None:
        for observer in (log, view):
            observer.note(text)

    trackers: list[Any] = [Guarded(name, build(node), tell) for name, node in spec.trackers.items()]
    return [*trackers, Report(tell), log, view]


class Report(Observer):
    """report.html, written when the run ends, however it ends. `tell` is given the note about one that could not be made."""

    def __init__(self, tell: Callable[[str], Any]) -> None:
        self.root: Path | None = None
        self._tell = tell

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Remember where to write."""
        self.root = root

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Write the page. One that cannot be written leaves a line in log.txt, and one that cannot be made a note and its traceback
        there: the run's own files are whole without it, and its end is what it was."""
        from ..report import write

        if self.root is None:
            return
        try:
            write(self.root, status)
        except (StoreError, KeyboardInterrupt) as error:  # a second Ctrl-C drops the page: `selfevo report` writes it later
            with suppress(OSError), (self.root / "log.txt").open("a") as log:  # a full disk has no room for this line either
                log.write(f"report: {str(error) or 'interrupted'}\n")
        except Exception as error:  # of whatever kind: a page does not decide how a run ended
            with suppress(OSError), (self.root / "log.txt").open("a") as log:
                log.write(traceback.format_exc())
            said = " ".join(str(error).split())
            self._tell(f"the report could not be made ({type(error).__name__}: {said}; see log.txt); the run's own files are whole")
