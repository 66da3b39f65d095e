"""Answers the page's questions: which runs there are and what changed, one run's panel, curves, trajectories."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import views
from .curves import AXES, Drawn
from .failed import latest
from .run import Watched
from .runs import Runs
from .trajectories import Trajectories

OPEN = 6
"""Runs whose trajectories are held at once; of one more the longest unused are dropped, and read again when asked for."""
MOST = 8
"""Runs in one set of curves."""
IDLE = 120.0
"""Seconds after which a run whose panel nobody asked for gives up what it has read."""


class Missing(Exception):
    """There is nothing by that name (any more)."""


class Wrong(Exception):
    """A question that makes no sense; the message says what was expected."""


Query = Mapping[str, Sequence[str]]


class Desk:
    """Everything that the server can be asked. Methods may be called from any thread; they raise Missing and Wrong.

    `boot` tells this process from others, so that a page notices a restart.
    """

    def __init__(self, roots: Sequence[Path]):
        self.runs, self.boot = Runs(roots), f"{time.time_ns():x}"
        self._drawn = Drawn()
        self._seen: dict[str, views.Seen] = {}
        self._used: dict[str, float] = {}
        self._rows: dict[str, tuple[int, dict[str, Any]]] = {}
        self._open: OrderedDict[str, tuple[Watched, int, Trajectories]] = OrderedDict()
        self._opening = threading.Lock()

    def overview(self, query: Query) -> dict[str, Any]:
        """Rows that changed since revision `since` (of process `boot`), and the ids of runs that are gone."""
        self.runs.look()
        since = _number(query, "since", 0) if _one(query, "boot") == self.boot else 0
        with self.runs.lock:
            changed = [n for n, at in self.runs.changed_at.items() if at > since]
            rows = [self._row(name) for name in changed]
            self._rest()
            return {
                "boot": self.boot, "revision": self.runs.revision, "now": time.time(), "rows": rows, "waiting": self.runs.waiting,
                "gone": [name for name, at in self.runs.gone.items() if at > since], "whole": since == 0,
                "roots": [str(root) for root in self.runs.roots], "total": len(self.runs.runs),
            }  # fmt: skip

    def panel(self, name: str) -> dict[str, Any]:
        """What an opened run shows."""
        self.runs.look()
        run, seen = self._of(name)
        return views.panel(self.runs.label(run.root), run, seen, time.time())

    def spec(self, name: str) -> dict[str, Any]:
        """The resolved spec."""
        _, seen = self._of(name)
        return {"text": seen.data.spec_text}

    def failures(self, name: str, query: Query) -> dict[str, Any]:
        """Every kind of failure, with what the latest said."""
        run, seen = self._of(name)
        return {"failures": latest(run.root, seen.data.lines, run.allows)}

    def curves(self, query: Query) -> dict[str, Any]:
        """Charts of the runs `run` over `x`, those of the metrics `more` among them."""
        axis = _one(query, "x") or "iteration"
        if axis not in AXES:
            raise Wrong(f"x: expected one of {', '.join(AXES)}")
        names = list(dict.fromkeys(query.get("run", ())))
        if not 1 <= len(names) <= MOST:
            raise Wrong(f"run: expected 1 to {MOST} of them")
        self.runs.look()
        found = [(self.runs.label(run.root), seen.metrics, seen.costs) for run, seen in map(self._of, names)]
        return self._drawn.charts(found, axis, list(dict.fromkeys(query.get("more", ())))[:12])

    def trajectories(self, name: str, query: Query) -> dict[str, Any]:
        """The next portion of a run's index."""
        return self._trajectories(name).portion(_one(query, "cursor"))

    def trajectory(self, name: str, query: Query) -> dict[str, Any]:
        """One trajectory in full."""
        found = self._trajectories(name).one(_number(query, "part"), _number(query, "row"))
        if found is None:
            raise Missing("no such trajectory, or its table cannot be read")
        return found

    def words(self, name: str, query: Query) -> dict[str, Any]:
        """First words of rows `start` to `stop` of a part."""
        start = _number(query, "start")
        return {"words": self._trajectories(name).words(_number(query, "part"), start, _number(query, "stop", start + 100))}

    def find(self, name: str, query: Query) -> dict[str, Any]:
        """Where a trajectory is."""
        found = self._trajectories(name).find(_one(query, "id"))
        return {"part": found[0], "row": found[1]} if found is not None else {"part": -1, "row": -1}

    def search(self, name: str, query: Query) -> dict[str, Any]:
        """Rows that hold a text."""
        text = _one(query, "text")
        if not text:
            raise Wrong("text: expected what to look for")
        return self._trajectories(name).search(text, _number(query, "first", 0))

    def tag(self, names: Sequence[str] | None) -> str:
        """What an answer about these runs (None: about all) depends on, as an ETag; the same as long as nothing changed."""
        self.runs.look()
        with self.runs.lock:
            if names is None:
                return f'"{self.boot}-{self.runs.revision}"'
            at = ".".join(str(self.runs.changed_at.get(name, "none")) for name in names)
            return f'"{self.boot}-{at}"'

    def _row(self, name: str) -> dict[str, Any]:
        run = self.runs.runs[name]
        label = self.runs.label(run.root)
        if not run.version:
            return views.row(name, label, run, None)
        held = self._rows.get(name)
        if held is None or held[0] != run.version:
            held = self._rows[name] = (run.version, views.row(name, label, run, self._worked(name, run)))
        return held[1]

    def _rest(self) -> None:
        """Let go of what nobody looks at."""
        now = time.monotonic()
        for name in [n for n in self._seen if now - self._used.get(n, -IDLE) >= IDLE]:
            del self._seen[name]
            run = self.runs.get(name)
            if run is not None and run.state not in ("running", "elsewhere"):
                run.rest()
        for name in [n for n in self._rows if n not in self.runs.runs]:
            del self._rows[name]

    def _of(self, name: str) -> tuple[Watched, views.Seen]:
        with self.runs.lock:
            run = self.runs.get(name)
            if run is None or not run.version:
                raise Missing("no such run, or it was deleted")
            self._used[name] = time.monotonic()
            return run, self._worked(name, run)

    def _worked(self, name: str, run: Watched) -> views.Seen:
        seen = self._seen.get(name)
        if seen is None or seen.version != run.version or seen.run is not run:
            seen = self._seen[name] = views.Seen(run)
        return seen

    def _trajectories(self, name: str) -> Trajectories:
        run, seen = self._of(name)
        with self._opening:
            held = self._open.pop(name, None)
            if held is None or held[0] is not run or held[1] != run.restarts:
                held = (run, run.restarts, Trajectories(run, seen.data))
            self._open[name] = held
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        held[2].grow(seen.data)
        return held[2]


def _one(query: Query, name: str) -> str:
    values = query.get(name) or [""]
    return values[0]


def _number(query: Query, name: str, default: int | None = None) -> int:
    text = _one(query, name)
    if not text and default is not None:
        return default
    if not text.isdigit() or len(text) > 18:
        raise Wrong(f"{name}: expected a whole number")
    return int(text)
