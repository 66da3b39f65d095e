"""One run that is watched: what its files say so far, read on as they grow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..comparing.speed import generated
from ..report.read import Line, RunData
from ..store import MANIFEST, METRICS, SPEC
from .gate import Gate
from .state import judge, last_word, lock_of
from .tail import Tail

LOG = 1 << 14
"""Bytes of the end of log.txt that are looked at."""
GRACE = 60.0
"""Seconds without a commit, beside three times the longest stage, after which a run elsewhere counts as stale again."""


class Watched:
    """A run directory. `update` reads what is new; `version` grows whenever something that is shown changed.

    `data` is what the report reads, of the lines committed so far; `trouble` says what keeps the rest from being read;
    `changed` is when its files changed last, in seconds since 1970; `restarts` counts how often its files were
    replaced or cut short.
    A run that nobody looks at can `rest`: it gives up what it has read, and reads it again when `data` is asked for or it grows.
    `began`: since when a process here is at work in it, None for none. `tokens` and `seconds`: of all committed stages together; work
    that passed beside another stage is counted once.
    """

    def __init__(self, root: Path, gate: Gate):
        self.root, self._gate = root, gate
        self.version, self.trouble, self.changed, self.state, self.log = 0, "", 0.0, "stale", ""
        self.lines: list[Line] = []
        self.manifest: list[Mapping[str, Any]] = []
        self._data: RunData | None = None
        self._spec: tuple[Mapping[str, Any], str] | None = None
        self.restarts = 0
        self._ended = self._held = self._resting = False
        self._grew = self._longest = 0.0
        self.began: float | None = None
        self.tokens = self.seconds = 0.0
        self._logged: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._updates = 0
        self._tails = Tail(root / MANIFEST), Tail(root / METRICS)
        self._word = ""
        self._log_file = root / "log.txt"
        self._log_seen: tuple[int, int] | None = None

    def update(self, locks: frozenset[int] | None) -> bool:
        """Read on; returns whether anything changed. `locks` as `state.locked` gives them. Never raises for what a run's files hold."""
        before = self._summary()
        grew, anew = False, False
        if self.version == 0 or any(tail.changed() for tail in self._tails):
            if self._resting:
                self._wake()
                grew = True
            else:
                count = len(self.manifest)
                anew = self._read()
                grew = len(self.manifest) > count and self.version > 0
        self._read_log()
        self._judge(locks, grew)
        changed = anew or grew or self.version == 0 or before != self._summary()
        if changed:
            self.version += 1
            self._data = None
        return changed

    @property
    def data(self) -> RunData:
        """What was committed so far."""
        if self._resting:
            self._wake()
        if self._data is None:
            spec, text = self._spec if self._spec is not None else ({}, "")
            self._data = RunData(self.root, self.state, spec, text, {}, 0, tuple(self.manifest), tuple(self.lines), self.log)
        return self._data

    def rest(self) -> None:
        """Give up what was read, but what tells whether it grows."""
        self._resting, self._data = True, None
        self.manifest, self.lines, self._logged = [], [], {}

    def _wake(self) -> None:
        ended, self._resting = self._ended, False
        self._tails = Tail(self.root / MANIFEST), Tail(self.root / METRICS)
        self._forget()
        self._read()
        self._ended |= ended and not self.trouble

    def _summary(self) -> tuple[object, ...]:
        return self.state, self.trouble, self.log, self._spec is None

    def allows(self, file: Path) -> bool:
        """Whether a file may be read: it lies in a watched folder."""
        return self._gate.allows(file)

    @property
    def spec(self) -> Mapping[str, Any]:
        """The parsed spec.yaml, {} where it cannot be read."""
        return self._spec[0] if self._spec is not None else {}

    def _read(self) -> bool:
        """Take in new lines, the manifest's first: it vouches for the metrics. Returns whether the run began anew."""
        outside = [tail.file.name for tail in self._tails if not self._gate.allows(tail.file)]
        if outside:
            self.trouble = f"{outside[0]}: lies outside of the watched folders"
            return False
        manifest, metrics = self._tails
        try:
            entries, anew = manifest.read()
            logged, metrics_anew = metrics.read()
        except OSError as error:
            self._tails = Tail(manifest.file), Tail(metrics.file)
            self._forget()
            self.restarts += 1
            self.trouble = f"{error.filename}: {error.strerror}"
            return True
        if anew:
            self._forget()
            self.restarts += 1
        if metrics_anew:  # a resume cut it back and wrote it again: the same lines
            self._logged = {}
        self._logged.update({(line["path"], line["stage"]): line for line in logged})
        self.trouble = manifest.trouble or metrics.trouble
        self._take(entries)
        if self._spec is None:
            self._spec = self._read_spec()
        return anew

    def _take(self, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            self.manifest.append(entry)
            self._ended |= entry["stage"] == "end" and not entry["path"]
            logged = self._logged.get((entry["path"], entry["stage"]))
            if logged is None:
                continue  # "create", "checkpoint" and "end" have no metrics
            line = _line(logged, entry, self._updates)
            if line is None:
                self.trouble = f"{METRICS}: {entry['path']}/{entry['stage']} is not a line of a run"
                continue
            self._updates = line.updates
            self.lines.append(line)
            self.tokens += generated(line)
            self.seconds += line.seconds - line.metrics.get("time/overlapped", 0.0)

    def _forget(self) -> None:
        self.manifest, self.lines, self._updates, self._ended, self._spec = [], [], 0, False, None
        self._logged, self.tokens, self.seconds = {}, 0.0, 0.0

    def _read_spec(self) -> tuple[Mapping[str, Any], str]:
        import yaml

        text = self._gate.text(self.root / SPEC)
        try:
            spec = yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that there is not
            self.trouble = f"{SPEC}: not YAML ({' '.join(str(error).split())})"
            spec = None
        return (spec if isinstance(spec, Mapping) else {}), text

    def _read_log(self) -> None:
        try:
            found = os.stat(self._log_file)
        except OSError:
            self.log, self._word, self._log_seen = "", "", None
            return
        if (found.st_size, found.st_mtime_ns) != self._log_seen:
            self._log_seen = found.st_size, found.st_mtime_ns
            self.log = self._gate.text(self._log_file, LOG)
            self._word = last_word(self.log)

    def _judge(self, locks: frozenset[int] | None, grew: bool) -> None:
        lock = lock_of(self.root)
        held = None if locks is None else lock is not None and lock[0] in locks
        now = time.time()
        if grew and not held and not self._held:
            self._grew = now
        self._held = bool(held)
        if grew:
            self._longest = max((line.seconds for line in self.lines[-50:]), default=self._longest)
        self.state = judge(self._ended, held, self._word, now - self._grew < GRACE + 3 * self._longest)
        self.began = lock[1] if lock is not None and held else None
        self.changed = max(self.began or 0.0, self._tails[0].time, self._log_seen[1] / 1e9 if self._log_seen is not None else 0.0)


def _line(logged: Mapping[str, Any], entry: Mapping[str, Any], updates: int) -> Line | None:
    """A committed stage, or None where a value is missing or not of its type. `updates`: train stages committed before it."""
    kind, iteration, seconds, metrics = (logged.get(name) for name in ("kind", "iteration", "seconds", "metrics"))
    if not (isinstance(kind, str) and isinstance(iteration, int) and isinstance(seconds, (int, float)) and isinstance(metrics, Mapping)):
        return None
    if not all(isinstance(value, (int, float)) for value in metrics.values()):
        return None
    return Line(logged["path"], logged["stage"], kind, iteration, updates + (kind == "train"), seconds, metrics, entry)
