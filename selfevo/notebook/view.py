"""What a notebook shows of a run while it goes on: one small table, kept up to date in place, then the closing words as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..panel import SUITES_SHOWN, State, closing, duration, sparkline
from ..report.samples import visible
from ..view import committed
from .shown import CELL, TITLE

if TYPE_CHECKING:
    from ..spec import RunSpec

EVERY = 0.25
"""Seconds between two pictures, at least."""


class Handle(Protocol):
    """What `IPython.display.display(..., display_id=True)` gives back."""

    def update(self, shown: Any) -> Any:
        """Put something in the place of what is shown."""


class Picture:
    """The state of a run at a moment, as HTML for notebooks and as a line for whatever shows text only."""

    def __init__(self, state: State, now: float):
        self.html, self.text = picture(state, now), f"{state.name}: {state.stage or 'loading'}"

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


class NotebookView:
    """An observer that keeps one output of the cell up to date. `display` shows something and gives back what updates it."""

    def __init__(self, display: Callable[[Any], Handle], say: Callable[[str], Any] = print, now: Callable[[], float] = time.monotonic):
        self._display, self._say, self._now = display, say, now
        self.state = State(began=now())
        self._handle: Handle | None = None
        self._shown = 0.0

    def start(self, spec: RunSpec, root: Path, resumed: bool) -> None:
        """Show that the run begins; a resumed one remembers what it measured before."""
        self.state = State(name=spec.name, root=str(root), began=self._now())
        for line in committed(root) if resumed else ():
            self.state.add(line)
        self._handle = self._display(Picture(self.state, self._now()))

    def stage(self, path: str, stage: str, kind: str, iteration: int, total: int) -> None:
        """A stage begins."""
        self.state.enter(path, stage, iteration, total, self._now())
        self._update()

    def progress(self, done: int, total: int, what: str) -> None:
        """A long stage moves."""
        self.state.progress = (done, total, what)
        self._update()

    def line(self, line: Mapping[str, Any]) -> None:
        """A stage was committed."""
        self.state.add(line)
        self._update()

    def note(self, text: str) -> None:
        """Something a user should read."""
        self.state.note = text
        self._say(f"note: {text}")

    def finish(self, status: str, seconds: Mapping[str, float]) -> None:
        """The last picture, and what became of the run."""
        if self._handle is None:
            return  # the run never began
        self.state.stage, self.state.progress, self.state.first = status, None, None  # no time is left
        if status == "done":
            self.state.iteration = self.state.total
        self._handle.update(Picture(self.state, self._now()))
        self._say("\n".join(closing(self.state, status, seconds, Path(self.state.root, "report.html").is_file())))

    def _update(self) -> None:
        now = self._now()
        if self._handle is not None and now - self._shown >= EVERY:
            self._shown = now
            self._handle.update(Picture(self.state, now))


def picture(state: State, now: float) -> str:
    """The table. Whatever a run is called or measures is text in it."""
    left = state.remaining(now)
    doing = "" if state.progress is None else f"{state.progress[2]} {state.progress[0]}/{state.progress[1]}"
    rows = [("stage", _text(state.stage or "loading"), _text(doing))]
    if state.total > 1:
        done = min(state.iteration, state.total)
        bar = f'<progress max="{state.total}" value="{done}">{done} of {state.total}</progress>'
        rows.insert(0, (f"{min(state.iteration + 1, state.total)}/{state.total}", bar, "" if left is None else f"{duration(left)} left"))
    if state.rewards:
        rows.append(("reward", f"{state.rewards[-1]:.3f}", sparkline(state.rewards)))
    for suite, seen in list(state.passes.items())[:SUITES_SHOWN]:
        rows.append(("pass@1", _text(f"{seen[-1]}  {suite}"), sparkline([m.value for m in seen])))
    rows.append(("time", duration(now - state.began), "" if state.rate is None else f"{state.rate:,.0f} tokens/s"))
    body = "".join(f'<tr><th scope="row" {CELL}>{a}</th><td {CELL}>{b}</td><td {CELL}>{c}</td></tr>' for a, b, c in rows)
    return f"<table><caption {TITLE}>{_text(state.name)}</caption><tbody>{body}</tbody></table>"


def _text(value: str) -> str:
    return escape(visible(value))


def view() -> Any:
    """What shows a run here: in a notebook the table, elsewhere what the command line shows."""
    from rich.console import Console

    from ..view import View

    if not Console().is_jupyter:
        return View()
    from IPython.display import display  # a notebook has it

    return NotebookView(lambda shown: display(shown, display_id=True))
