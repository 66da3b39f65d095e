"""From a folder to the run it holds, or to all runs below it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .saved import SavedRun
    from .several import SavedRuns

Folder = str | os.PathLike[str]


def load_run(dir: Folder) -> SavedRun:
    """The run in a directory, read from its manifest, metrics and spec; tables and weights are read when they are asked for.

    Takes no lock and writes nothing: a run that is still going on is read up to its last commit (load it again for more). Raises
    UserError when there is no run, StoreError (file and line) for a broken line before the last.
    """
    from pathlib import Path

    from ..report.read import read_run
    from .saved import SavedRun

    return SavedRun(read_run(Path(dir)))


def load_runs(*dirs: Folder) -> SavedRuns:
    """Every run in or below some folders (a sweep, `outputs/`), in natural order. Raises UserError for a folder without any."""
    from pathlib import Path

    from ..comparing.find import find
    from .several import SavedRuns

    return SavedRuns(find([Path(d) for d in dirs]))
