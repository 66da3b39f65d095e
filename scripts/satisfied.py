"""Exit 0 when every requirement of pyproject.toml (with the named extras) is installed in an acceptable version, else 1.

`make setup` asks this first, so that a machine without a network keeps the environment it has.
"""

from __future__ import annotations

import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from packaging.requirements import Requirement


def missing(extras: list[str], project: dict) -> list[str]:
    """Requirements, those of the extras included, that this environment does not meet."""
    lines = list(project["dependencies"])
    todo, seen = list(extras), set()
    while todo:
        extra = todo.pop()
        if extra in seen:
            continue
        seen.add(extra)
        for line in project["optional-dependencies"][extra]:
            wanted = Requirement(line)
            if wanted.name == project["name"]:
                todo += sorted(wanted.extras)
            else:
                lines.append(line)
    return [line for line in lines if not met(Requirement(line))]


def met(wanted: Requirement) -> bool:
    """Whether an acceptable version is installed (or the marker does not apply here)."""
    if wanted.marker is not None and not wanted.marker.evaluate():
        return True
    try:
        return wanted.specifier.contains(version(wanted.name), prereleases=True)
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    spec = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())["project"]
    absent = missing(sys.argv[1:], spec)
    if absent:
        print("missing: " + ", ".join(absent))
    sys.exit(bool(absent))
