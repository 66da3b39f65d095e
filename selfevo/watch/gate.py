"""What may be read: files that really lie in one of the folders that are watched."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


class Gate:
    """The folders that are watched. Links are followed only as long as they stay inside."""

    def __init__(self, roots: Sequence[Path]):
        self.roots = tuple(os.path.realpath(root) for root in roots)

    def allows(self, path: Path) -> bool:
        """Whether a path, its links followed, lies in a watched folder."""
        real = os.path.realpath(path)
        return any(real == root or real.startswith(root.rstrip(os.sep) + os.sep) for root in self.roots)

    def text(self, path: Path, most: int = 1 << 20) -> str:
        """The last `most` bytes of a file as text; "" for one that is missing, no plain file or not allowed."""
        try:
            if not self.allows(path) or not path.is_file():
                return ""
            with path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - most))
                return file.read(most).decode("utf-8", "replace")
        except OSError:
            return ""
