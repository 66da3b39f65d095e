"""Tracker: what experiment trackers have in common. They see every committed metrics line and change nothing about a run."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UserError
from .names import Names

if TYPE_CHECKING:
    from ..spec import RunSpec
    from .samples import Judged


class Tracker(Protocol):
    """An observer of a run that sends its metrics elsewhere. The step of a line is its number among the run's committed lines, so that a
    resumed run continues its curves where they ended."""

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open or continue the record of this run. Raises UserError when the tracker's package is missing."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Log a committed metrics line."""

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Close the record; `status` is "done", "stopped" or "failed"."""


class Quiet:
    """The parts of watching a run that trackers leave alone."""

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """Nothing."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Nothing."""

    def note(self, text: str) -> None:
        """Nothing."""


def load(module: str, tracker: str, package: str) -> ModuleType:
    """Import a tracker's package. Raises UserError that names the extra to install."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"tracker '{tracker}' needs the package '{package}': pip install 'selfevo[track]'") from error


class Curves:
    """What is plotted of a run's committed lines: its metrics as `Names` gives them, "iteration", "updates" and "seconds/<stage>".

    `step` numbers the lines as they were committed. A resumed run begins with the lines that are there.
    """

    def __init__(self, spec: Mapping[str, Any], before: Iterable[Mapping[str, Any]] = ()):
        self.names, self.step, self.updates = Names(spec), 0, 0
        for line in before:
            self.take(line)

    def take(self, line: Mapping[str, Any]) -> dict[str, float]:
        """{name: value} of the next line."""
        self.step += 1
        self.updates += line["kind"] == "train"
        extra = {"iteration": float(line["iteration"]), "updates": float(self.updates), f"seconds/{line['stage']}": float(line["seconds"])}
        return {**dict(self.names.scalars(line)), **extra}

    def groups(self, line: Mapping[str, Any], judged: Judged) -> dict[str, float]:
        """{name: value} of what became of the groups that a committed score stage judged, if its word is the last on them."""
        if not self.names.counts(judged.stage, line["stage"]):
            return {}
        return dict(self.names.scalars({"stage": judged.stage, "metrics": judged.groups()}))
