"""selfevo resume: go on with a run from its last commit, under the spec it was started with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError, nearest
from ..preload import preload
from ..spec import RunSpec, check, load, read
from ..store import RunDir
from .plain import say
from .run import launch

USAGE = """usage: selfevo resume DIR [launcher=NAME] [launcher.KEY=VALUE ...]

Goes on with a run from its last commit, under the spec in DIR. Where it runs
may be changed, nothing else: for another spec start a new run. A finished run
is left as it is. For a sweep, give its command again with the same
hydra.sweep.dir.

  selfevo resume outputs/quickstart/<time>"""


def main(arguments: Sequence[str]) -> int:
    """Resume the run in a directory; one that is finished is left as it is. Raises UserError when there is none."""
    if any(a in ("-h", "--help") for a in arguments):
        print(USAGE)
        return 0
    if not arguments or arguments[0].startswith("-") or not all(map(_of_launcher, arguments[1:])):
        raise UserError(
            "usage: selfevo resume DIR [launcher=NAME] [launcher.KEY=VALUE] (the spec is the one in DIR; to change more of it than where"
            " it runs, start a new run)"
        )
    root = Path(arguments[0])
    if not (root / "spec.yaml").is_file():
        near = [str(p) for p in root.parent.iterdir() if (p / "spec.yaml").is_file()] if root.parent.is_dir() else []
        raise UserError(f"{root}: not a run directory (it has no spec.yaml){nearest(str(root), near)}")
    if finished(root):
        say(f"{root}: this run is finished, there is nothing to resume (its report: {root / 'report.html'})")
        return 0
    preload()
    launch(elsewhere(load(root / "spec.yaml"), arguments[1:]), root, resume=True)
    return 0


def _of_launcher(argument: str) -> bool:
    key, equals, _ = argument.partition("=")
    return bool(equals) and (key == "launcher" or key.startswith("launcher."))


def elsewhere(spec: RunSpec, overrides: Sequence[str]) -> RunSpec:
    """The spec under another launcher, or with other settings of its own: where a run goes on is no part of what it computes."""
    if not overrides:
        return spec
    import yaml

    launcher = dict(spec.launcher)
    for key, value in (o.split("=", 1) for o in overrides):
        if key == "launcher":
            launcher = dict(read([f"launcher={value}"]).launcher)
        else:
            launcher[key.removeprefix("launcher.")] = yaml.safe_load(value)
    return check({**spec.raw, "launcher": launcher})


def finished(root: Path) -> bool:
    """Whether a run's last commit is its end. Raises StoreError when its files are not what was recorded."""
    store = RunDir.open(root)
    try:
        return store.entry("", "end") is not None
    finally:
        store.close()
