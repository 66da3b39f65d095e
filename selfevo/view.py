"""What a user sees of a run: a live panel at a terminal, plain log lines elsewhere, and the same lines in the run's log.txt."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import textwrap
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from .errors import Stopped
from .panel import State, closing, log_line, panel
from .store import DiskFull

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

    from .spec import RunSpec

METRICS = "metrics.jsonl"
ECHO = 2
"""Columns that the panel leaves free: a terminal echoes Ctrl-C as ^C behind it, and a line more would spoil the next redraw."""
WIDEST = 110
"""Most columns of the panel: on a wider screen names and values would stand too far apart to be read together."""


class View:
    """An observer that shows the run on `console` (default: standard output).

    At a terminal: a live panel, below it nothing; notes and the closing summary stay on the screen. Elsewhere: one plain line per
    stage, without control codes. NO_COLOR and TERM=dumb are respected. A reader that goes away (head, less) stops the run.
    """

    def __init__(self, console: Console | None = None, now: Callable[[], float] = time.monotonic):
        from rich.console import Console

        self.console = console if console is not None else Console(highlight=False, soft_wrap=True)
        self.state, self._now = State(began=now()), now
        self._live: Live | None = None
        self._unread = False

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Show that the run begins; a resumed one remembers what it measured before."""
        self.state = State(name=spec.name, root=str(root), began=self._now())
        if resumed:
            for line in committed(root):
                self.state.add(line)
        if self.console.is_terminal and not self.console.is_dumb_terminal:
            from rich.live import Live

            ascii_only = self.console.options.ascii_only
            self._live = Live(
                get_renderable=lambda: panel(self.state, self._now(), ascii_only, min(self.console.width - ECHO, WIDEST)),
                console=self.console,
                refresh_per_second=4,
                transient=True,
            )
            self._live.start()
        else:
            self._print(f"{'resuming' if resumed else 'running'} {spec.name} in {root}")

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""
        self.state.enter(path, stage, iteration, total, self._now())

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""
        self.state.progress = (done, total, what)

    def line(self, line: Mapping[str, Any]) -> None:
        """A stage was committed."""
        self.state.add(line)
        if self._live is None:
            self._print(log_line(line, self.state.total))

    def note(self, text: str) -> None:
        """Something a user should read."""
        self.state.note = text
        self._print(f"note: {text}")

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Take the panel down and say what became of the run."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if not self.state.root:
            return  # the run never began
        for line in closing(self.state, status, seconds, Path(self.state.root, "report.html").is_file()):
            self._print(line)

    def _print(self, text: str) -> None:
        """One line; at a terminal one too long for it goes on below, indented and never inside a word or a path."""
        if self._unread:
            return
        if self.console.is_terminal:
            text = wrapped(text, self.console.width)
        try:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
            self.console.file.flush()
        except (BrokenPipeError, SystemExit) as error:  # rich turns the one into the other
            self._unread = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes once more when it exits
            raise Stopped(
                f"stopped at the last commit, since nothing reads the output any more; continue with: selfevo resume {self.state.root}"
            ) from error


class LogFile:
    """An observer that appends the run's log lines to log.txt in its directory, with the seconds since this process began it."""

    def __init__(self, now: Callable[[], float] = time.monotonic):
        self._now, self._began, self._total = now, now(), 0
        self._state = State()
        self._file: TextIO | None = None

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Open the log; earlier lines stay."""
        self._state = State(name=spec.name, root=str(root))
        if resumed:
            for line in committed(root):
                self._state.add(line)
        self._file = (root / "log.txt").open("a", encoding="utf-8")
        self._write(f"{'resuming' if resumed else 'running'} {spec.name}, seed {spec.seed}")

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """Remember the number of iterations."""
        self._total = total

    def progress(self, done: int, total: int, what: str) -> None:
        """Not logged."""

    def line(self, line: Mapping[str, Any]) -> None:
        """Log a committed stage."""
        self._state.add(line)
        self._write(log_line(line, self._total))

    def note(self, text: str) -> None:
        """Log a note."""
        self._write(f"note: {text}")

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """Log the closing summary and close the file."""
        if self._file is None:
            return
        file, report = self._file, Path(self._state.root, "report.html").is_file()
        with suppress(OSError, DiskFull):  # what ended the run is said elsewhere; a full disk has no room for the last words
            for line in closing(self._state, status, seconds, report):
                self._write(line)
        with suppress(OSError):  # closing writes what is still in memory
            file.close()
        self._file = None

    def _write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(f"{self._now() - self._began:10.1f}  {text}\n")
            self._file.flush()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            root = self._state.root
            raise DiskFull(f"{root}/log.txt: no space left on the disk; free some, then: selfevo resume {root}") from error


def wrapped(text: str, width: int, hang: int | None = None) -> str:
    """A line broken between words to fit `width` columns, what follows the first indented under it (by `hang` columns, or four more than
    the line). A command to type stays whole."""
    text = re.sub(r"(selfevo \w+ \S+)", lambda command: command[0].replace(" ", "\xa0"), text)
    indent = " " * (len(text) - len(text.lstrip()) + 4 if hang is None else hang)
    filled = textwrap.fill(text, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return filled.replace("\xa0", " ")


def committed(root: Path) -> list[Mapping[str, Any]]:
    """Metrics lines of a run directory, the last of each stage execution; a torn last line (a kill while writing) is left out."""
    path = root / METRICS
    if not path.is_file():
        return []
    lines: dict[tuple[str, str], Mapping[str, Any]] = {}
    for text in path.read_text(encoding="utf-8").splitlines(keepends=True):
        if text.endswith("\n"):
            line = json.loads(text)
            lines[line["path"], line["stage"]] = line
    return list(lines.values())
