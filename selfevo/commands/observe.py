"""Who watches a run besides its own files: the trackers of the spec, the report at its end, the log, the live view."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import StoreError
from ..running import Observer
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
    return [*trackers, Report(), log, view]


class Report(Observer):
    """report.html, written when the run ends, however it ends."""

    def __init__(self) -> None:
        self.root: Path | None = None

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Remember where to write."""
        self.root = root

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Write the page. One that cannot be written leaves a line in log.txt: the run's own files are whole without it."""
        from ..report import write

        if self.root is None:
            return
        try:
            write(self.root, status)
        except (StoreError, KeyboardInterrupt) as error:  # a second Ctrl-C drops the page: `selfevo report` writes it later
            with suppress(OSError), (self.root / "log.txt").open("a") as log:  # a full disk has no room for this line either
                log.write(f"report: {str(error) or 'interrupted'}\n")
