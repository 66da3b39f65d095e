"""All runs in the watched folders: found again and again, read on, and numbered by when they changed."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from ..comparing.find import DEPTH
from ..store import MANIFEST
from .gate import Gate
from .run import Watched
from .state import locked

EVERY = 0.5
"""Seconds that a look at the files counts for; pages that ask more often get the same answer."""
FIND = 2.0
"""Seconds between two looks for runs that are new or gone."""
BUDGET = 0.3
"""Seconds that one look spends on runs never read before; the rest come with the next look."""


class Runs:
    """The runs below some folders, by an id that is the same for the same directory. Every method may be called from any thread.

    `revision` grows with every change; `changed_at[id]` is the revision of a run's last change, `gone[id]` that of its disappearance.
    """

    def __init__(self, roots: Sequence[Path]):
        self.roots = [Path(os.path.realpath(root)) for root in roots]
        self.gate = Gate(self.roots)
        self.lock = threading.RLock()
        self.revision, self.waiting = 0, 0
        self.runs: dict[str, Watched] = {}
        self.changed_at: dict[str, int] = {}
        self.gone: dict[str, int] = {}
        self._looked, self._found = -EVERY, -FIND

    def look(self) -> None:
        """Bring everything up to date, unless that was done just now."""
        with self.lock:
            if time.monotonic() - self._looked < EVERY and not self.waiting:
                return
            if time.monotonic() - self._found >= FIND:
                self._find()
                self._found = time.monotonic()
            self._read()
            self._looked = time.monotonic()

    def get(self, name: str) -> Watched | None:
        """The run with this id, or None."""
        with self.lock:
            return self.runs.get(name)

    def label(self, root: Path) -> str:
        """A run's path as seen from the watched folder it is in; the folder's own name goes first where several are watched."""
        for base in self.roots:
            if root == base:
                return base.name
            if root.is_relative_to(base):
                below = str(root.relative_to(base))
                return f"{base.name}/{below}" if len(self.roots) > 1 else below
        return root.name

    def _find(self) -> None:
        found: dict[str, str] = {}
        for base in self.roots:
            for folder in _folders(str(base), DEPTH):  # no link lies on the way: the path is the real one
                found.setdefault(_id(folder), folder)
        for name in [n for n in self.runs if n not in found]:
            del self.runs[name], self.changed_at[name]
            self.revision += 1
            self.gone[name] = self.revision
        for name, root in found.items():
            if name not in self.runs:
                self.runs[name] = Watched(Path(root), self.gate)
                self.gone.pop(name, None)
                self._mark(name)

    def _read(self) -> None:
        locks = locked()
        fresh = [(name, run) for name, run in self.runs.items() if run.version == 0]
        for name, run in self.runs.items():
            if run.version and run.update(locks):
                self._mark(name)
        began = time.monotonic()
        fresh.sort(key=lambda item: -_time(item[1].root))
        for n, (name, run) in enumerate(fresh):
            if n and time.monotonic() - began > BUDGET:
                break
            run.update(locks)
            self._mark(name)
        self.waiting = sum(run.version == 0 for run in self.runs.values())

    def _mark(self, name: str) -> None:
        self.revision += 1
        self.changed_at[name] = self.revision


def _folders(folder: str, depth: int) -> Iterator[str]:
    """Run directories in a folder and below; nothing is looked for inside a run, nor behind links to folders."""
    try:
        if os.path.isfile(f"{folder}/{MANIFEST}"):
            yield folder
            return
        if depth == 0:
            return
        with os.scandir(folder) as entries:
            below = [e.name for e in entries if not e.name.startswith(".") and e.is_dir(follow_symlinks=False)]
    except OSError:  # deleted at this moment, or not ours to read
        return
    for name in below:
        yield from _folders(f"{folder.rstrip('/')}/{name}", depth - 1)


def _id(root: str) -> str:
    return hashlib.sha256(os.fsencode(root)).hexdigest()[:12]


def _time(root: Path) -> float:
    try:
        return (root / MANIFEST).stat().st_mtime
    except OSError:
        return 0.0
