"""Text: where a memory's first version comes from. The schema of an entry under `memories` in a spec."""

from __future__ import annotations

from collections.abc import Mapping

from ..errors import UserError
from .files import read
from .memory import Memory


class Text:
    """A memory that starts from inline texts, from a folder, or empty.

    files: file name to text, written in the spec.
    path: folder to read (UTF-8 files only); give one of the two or none.
    """

    def __init__(self, files: Mapping[str, str] | None = None, path: str | None = None):
        if files is not None and path is not None:
            raise UserError("memory: give either 'files' or 'path', not both")
        self.files, self.path = files, path

    def load(self, name: str) -> Memory:
        """The memory called `name`, at its first version."""
        return Memory(name, read(self.path) if self.path is not None else self.files or {})
