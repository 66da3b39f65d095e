"""selfevo resume: go on with a run from its last commit, under the spec it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, nearest
from ..spec import load
from .run import launch


def main(arguments: Sequence[str]) -> int:
    """Resume the run in a directory. Raises UserError when there is none."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        raise UserError("usage: selfevo resume DIR (the spec is the one in DIR; to change it, start a new run)")
    root = Path(arguments[0])
    if not (root / "spec.yaml").is_file():
        near = [str(p) for p in root.parent.iterdir() if (p / "spec.yaml").is_file()] if root.parent.is_dir() else []
        raise UserError(f"{root}: not a run directory (it has no spec.yaml){nearest(str(root), near)}")
    launch(load(root / "spec.yaml"), root, resume=True)
    return 0
