"""selfevo list: experiments with their titles, or the choices of a config group, read from the first comment of each file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, nearest
from ..packaged import configs


def main(arguments: Sequence[str]) -> int:
    """Print `id  title` lines. A word picks a group (`optimizer`) or filters experiments by id and title."""
    words = [a for a in arguments if not a.startswith("-")]
    if len(words) > 1 or len(words) != len(arguments):
        raise UserError("usage: selfevo list [word]")
    word = words[0] if words else ""
    root = configs()
    groups = sorted(p.name for p in root.iterdir() if p.is_dir())
    group = word if word in groups else "experiment"
    found = titles(root / group)
    if group == "experiment" and word not in ("", "experiment"):
        found = {name: title for name, title in found.items() if word.lower() in f"{name} {title}".lower()}
        if not found:
            raise UserError(f"no experiment or config group matches '{word}'{nearest(word, [*groups, *titles(root / 'experiment')])}")
    width = max(map(len, found), default=0)
    for name, title in found.items():
        print(f"{name:<{width}}  {title}".rstrip())
    return 0


def titles(folder: Path) -> dict[str, str]:
    """Config names of a group, folders in it included, with the first comment line of each file."""
    return {str(file.relative_to(folder).with_suffix("")): title(file) for file in sorted(folder.rglob("*.yaml"))}


def title(file: Path) -> str:
    """The first comment line that is not a package directive."""
    for line in file.read_text().splitlines():
        if not line.startswith("#"):
            break
        if not line.startswith("# @package"):
            return line.lstrip("# ").rstrip()
    return ""
