"""sha256 of files: of one on disk, and of one while it is written."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import IO, Any


class Hashing(io.RawIOBase):
    """A file that can only be written on to its end, and knows the sha256 of what was written: nobody has to read it again."""

    def __init__(self, file: IO[bytes]):
        self._file, self._hash = file, hashlib.sha256()

    @property
    def sha(self) -> str:
        """sha256 of everything written so far, in hex."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any) -> int:
        """Write all of it."""
        self._hash.update(data)
        return self._file.write(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand what is buffered to the system."""
        if not self._file.closed:
            self._file.flush()


def file_sha(path: Path) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()
