"""Runs started, or gone on with, from Python: the same spec, checks and files as on the command line, errors as exceptions."""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .load import Folder, load_run
from .overrides import overrides as as_overrides

if TYPE_CHECKING:
    from ..place import Place
    from ..spec import RunSpec
    from .saved import SavedRun


def run(
    experiment: str | None = None, *overrides: str | Mapping[str, Any], dir: Folder | None = None, config_dirs: Sequence[Folder] = (),
    show: bool = True, **keys: Any,
) -> SavedRun:  # fmt: skip
    """Run an experiment in this process and return what it left: `run("quickstart", "scale=tiny", seed=1)`.

    experiment: a choice of the group `experiment`; None: the base config.
    overrides: "key=value" as on the command line, or mappings of keys with dots: {"optimizer.lr": 1e-3}.
    keys: the same for names without a dot; a mapping sets the keys below: optimizer={"lr": 1e-3}.
    dir: the run directory; default outputs/<name>/<time>. One that holds something is refused.
    config_dirs: folders of your own configs. show: whether progress and closing words are printed.

    Raises SpecErrors with every mistake of the spec at once, UserError for other mistakes, Stopped after Ctrl-C (the first lets the stage
    finish, the second stops at once; `resume` goes on), and other SelfevoErrors for what ends a run.
    """
    from ..spec import read

    spec = read(as_overrides(experiment, overrides, keys), [os.fspath(folder) for folder in config_dirs])
    root = _new(spec.name) if dir is None else Path(dir)
    if root.exists() and (not root.is_dir() or any(root.iterdir())):
        held = f"resume({str(root)!r}) goes on with the run there" if (root / "manifest.jsonl").exists() else "choose another"
        raise UserError(f"dir={str(root)!r}: exists already and is not empty; {held}")
    _launch(spec, root, False, show)
    return load_run(root)


def resume(dir: Folder, show: bool = True) -> SavedRun:
    """Go on with a stopped run from its last commit, under the spec in its directory; a finished one is returned as it is."""
    from ..spec import load

    saved = load_run(dir)
    if saved.status == "done":
        return saved
    _launch(load(saved.root / "spec.yaml"), saved.root, True, show)
    return load_run(saved.root)


def _new(name: str) -> Path:
    """A directory that there is not yet, named as on the command line."""
    root = Path("outputs") / name / datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    tries, first = 1, root
    while root.exists():
        tries += 1
        root = first.with_name(f"{first.name}-{tries}")
    return root


def _launch(spec: RunSpec, root: Path, going_on: bool, show: bool) -> None:
    """Run it here, or beside the event loop that a notebook keeps in this thread."""
    from ..commands.run import launch
    from .beside import beside, looping

    place = _place(show)
    try:
        if looping():
            # what transformers has to say of progress bars, which are off
            warnings.filterwarnings("ignore", "IProgress not found")
            beside(lambda stopping: launch(spec, root, going_on, place, stopping), print if show else _silent)
        else:
            launch(spec, root, going_on, place)
    finally:
        gc.unfreeze()  # a run sets aside what is there when it starts; in a process that lives on, its leavings must be collected


def _silent(text: str) -> None:
    """Nothing."""


def _place(show: bool) -> Place:
    """This process, with what shows a run to whoever called, or with nothing."""
    from ..observer import Observer
    from ..place import Place
    from .view import view

    class Here(Place):
        """This process, as Python sees it."""

        def view(self) -> Observer:
            """What shows the run."""
            return view() if show else Observer()

    return Here()
