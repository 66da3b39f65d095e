"""What a run is doing, judged from its files and the kernel's list of locks; the lock itself is never tried."""

from __future__ import annotations

import os
import re
from pathlib import Path

WORD = re.compile(r"^ *[\d.]+  (done|stopped|failed) after ", re.MULTILINE)
BEGUN = re.compile(r"^ *[\d.]+  (running|resuming) ", re.MULTILINE)

WHY = {
    "done": "the run finished",
    "running": "a process on this machine is at work in it",
    "elsewhere": "commits arrive, but not from a process on this machine",
    "stopped": "it was stopped at a commit and can be resumed",
    "failed": "it failed; the end of its log says why. It can be resumed",
    "stale": "no process on this machine is at work in it, and its log has no last word: it was killed, or works on another machine",
    "unknown": "this system does not tell whether a process is at work in it",
}
"""What each state means. "elsewhere" is shown as running, "unknown" as stale."""


def locked() -> frozenset[int] | None:
    """Inodes of files that a process here holds a lock on, or None where the system does not tell."""
    try:
        text = Path("/proc/locks").read_text()
    except OSError:
        return None
    held = (line.split() for line in text.splitlines() if "->" not in line)  # "->" marks one that waits
    return frozenset(int(words[5].rpartition(":")[2]) for words in held if len(words) > 5)


def lock_of(root: Path) -> tuple[int, float] | None:
    """(inode, time of the last acquisition as seconds since 1970) of a run's lock file, or None where it has none."""
    try:
        found = os.stat(root / ".lock", follow_symlinks=False)
    except OSError:
        return None
    return found.st_ino, found.st_mtime


def last_word(log: str) -> str:
    """How the last process in a log says that it ended; "" where it has not said so."""
    begun = [m.end() for m in BEGUN.finditer(log)]
    said = WORD.findall(log, begun[-1] if begun else 0)
    return said[-1] if said else ""


def judge(ended: bool, held: bool | None, word: str, growing: bool) -> str:
    """A key of WHY. `ended`: its manifest has an end; `held`: a process here holds its lock (None: nobody can tell); `word`: `last_word`;
    `growing`: commits came lately while nobody here held the lock."""
    if ended:
        return "done"
    if held:
        return "running"
    if word in ("stopped", "failed"):
        return word
    if growing:
        return "elsewhere"
    return "unknown" if held is None else "stale"
