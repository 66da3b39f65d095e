"""Text resources as a mapping from file name to text: checked names, folders on disk, digests and differences."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import UserError, nearest
from ..records import digest as content_digest

Files = Mapping[str, str]
"""Relative POSIX file name ("skills/carry.md") to text."""


def check(files: Files, where: str = "memory") -> dict[str, str]:
    """A sorted copy. Raises UserError for a name that would leave the folder or a text that UTF-8 cannot hold."""
    for name, text in files.items():
        path = PurePosixPath(name)
        if not name or path.is_absolute() or ".." in path.parts or "\\" in name or str(path) != name:
            raise UserError(f"{where}: '{name}' is not a valid file name; expected a relative path such as 'skills/carry.md'")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{where}: the text of '{name}' cannot be written as UTF-8 (character {error.start})") from error
    names = set(files)
    for name in files:
        blocked = [str(parent) for parent in PurePosixPath(name).parents if str(parent) in names]
        if blocked:
            raise UserError(f"{where}: '{blocked[0]}' cannot be both a file and the folder of '{name}'")
    return {name: files[name] for name in sorted(files)}


def digest(files: Files) -> str:
    """Digest of names and texts: equal content, equal digest."""
    return content_digest(dict(files))


def read(folder: str | Path) -> dict[str, str]:
    """Every file below `folder`, hidden ones left out. Raises UserError when the folder is missing or a file is not UTF-8."""
    root = Path(folder)
    if not root.is_dir():
        siblings = [p.name for p in root.parent.iterdir() if p.is_dir()] if root.parent.is_dir() else []
        raise UserError(f"memory folder '{folder}' does not exist{nearest(root.name, siblings)}")
    files = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root)
        if path.is_dir() or any(part.startswith(".") for part in name.parts):
            continue
        try:
            files[name.as_posix()] = path.read_bytes().decode()
        except UnicodeDecodeError as error:
            raise UserError(f"memory file '{path}' is not UTF-8 (byte {error.start}); memories hold text only") from error
    return files


def write(files: Files, folder: str | Path) -> None:
    """Write the files below `folder`, byte for byte as given (no newline translation). Existing other files are left alone."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    for name, text in check(files).items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


@dataclass(frozen=True, slots=True)
class Change:
    """One file that differs between two versions. `before` None: added; `after` None: removed."""

    file: str
    before: str | None
    after: str | None

    @property
    def kind(self) -> str:
        """What happened to the file: "added", "removed" or "modified"."""
        return "added" if self.before is None else "removed" if self.after is None else "modified"

    @property
    def patch(self) -> str:
        """Unified diff of the two texts."""
        before, after = (self.before or "").splitlines(), (self.after or "").splitlines()
        return "\n".join(difflib.unified_diff(before, after, f"a/{self.file}", f"b/{self.file}", lineterm=""))


def diff(before: Files, after: Files) -> list[Change]:
    """What changed from `before` to `after`, by file name; empty when they are equal."""
    names = sorted(set(before) | set(after))
    return [Change(n, before.get(n), after.get(n)) for n in names if before.get(n) != after.get(n)]


def apply(files: Files, changes: list[Change]) -> dict[str, str]:
    """`files` with `changes` made: `apply(a, diff(a, b)) == b`. Raises ValueError when a file is not as the change expects it."""
    out = dict(files)
    for change in changes:
        if out.get(change.file) != change.before:
            raise ValueError(f"the change to '{change.file}' does not fit: its text is not the one the change starts from")
        if change.after is None:
            del out[change.file]
        else:
            out[change.file] = change.after
    return check(out)
