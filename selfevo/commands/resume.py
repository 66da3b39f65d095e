"""selfevo resume: go on with a run from its last commit, under the spec it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, nearest
from ..spec import load
from ..store import RunDir
from .run import launch


def main(arguments: Sequence[str]) -> int:
    """Resume the run in a directory; one that is finished is left as it is. Raises UserError when there is none."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("usage: selfevo resume DIR (the spec is the one in DIR; to change it, start a new run)")
    root = Path(arguments[0])
    if not (root / "spec.yaml").is_file():
        near = [str(p) for p in root.parent.iterdir() if (p / "spec.yaml").is_file()] if root.parent.is_dir() else []
        raise UserError(f"{root}: not a run directory (it has no spec.yaml){nearest(str(root), near)}")
    if finished(root):
        print(f"{root}: this run is finished, there is nothing to resume (its report: {root / 'report.html'})")
        return 0
    launch(load(root / "spec.yaml"), root, resume=True)
    return 0


def finished(root: Path) -> bool:
    """Whether a run's last commit is its end. Raises StoreError when its files are not what was recorded."""
    store = RunDir.open(root)
    try:
        return store.entry("", "end") is not None
    finally:
        store.close()
