"""A growing file of JSON lines, read on from where it was read before."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Tail:
    """Whole lines of one file, each given out once. A last line without its newline is still being written and waits.

    A file that was replaced or cut short is read anew: `read` then says so. At a broken line reading ends, and `trouble` says where.
    """

    def __init__(self, file: Path):
        self.file = file
        self.trouble = ""
        self._at, self._number = 0, 0
        self._seen: tuple[int, int, int] | None = None

    def changed(self) -> bool:
        """Whether `read` might bring something: the file's inode, size or time is another than at the last reading."""
        return self._look() != self._seen

    @property
    def time(self) -> float:
        """When the file changed last, as of the last reading, in seconds since 1970; 0 for a missing one."""
        return self._seen[2] / 1e9 if self._seen is not None else 0.0

    def read(self) -> tuple[list[dict[str, Any]], bool]:
        """(new lines, whether these are from the beginning again). A missing file has none. Raises OSError for one that cannot be read."""
        before, self._seen = self._seen, self._look()
        if self._seen is None:
            anew, self._at, self._number = self._at > 0, 0, 0
            return [], anew
        anew = before is not None and (before[0] != self._seen[0] or self._seen[1] < self._at)
        if anew:
            self._at, self._number = 0, 0
        with self.file.open("rb") as file:
            file.seek(self._at)
            data = file.read(max(0, self._seen[1] - self._at))
        out, self.trouble = [], ""
        for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
            value = _parsed(line)
            if value is None:
                self.trouble = f"{self.file.name}:{self._number + 1}: corrupt line; what follows it is not shown"
                break
            out.append(value)
            self._at += len(line)
            self._number += 1
        return out, anew

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = os.stat(self.file)
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line's object, or None where it is no line of a run."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    fits = isinstance(value, dict) and isinstance(value.get("path"), str) and isinstance(value.get("stage"), str)
    return value if fits else None
