"""SavedRuns: the runs below a folder, and the settings in which they differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, overload

from . import curves, shown
from .optional import pandas
from .saved import SavedRun

if TYPE_CHECKING:
    import pandas as pd

    from ..comparing.find import Found

ROWS = 50
"""Runs that a notebook shows of many."""


class SavedRuns(Sequence[SavedRun]):
    """Runs in natural order. Jobs of a sweep that ended before they became a run are in `settings` only."""

    def __init__(self, found: Sequence[Found]):
        self._found = list(found)
        self._runs = [SavedRun(f.run) for f in found if f.run is not None]

    def __len__(self) -> int:
        return len(self._runs)

    @overload
    def __getitem__(self, at: int) -> SavedRun: ...
    @overload
    def __getitem__(self, at: slice) -> list[SavedRun]: ...
    def __getitem__(self, at: int | slice) -> SavedRun | list[SavedRun]:
        return self._runs[at]

    def __iter__(self) -> Iterator[SavedRun]:
        return iter(self._runs)

    @cached_property
    def settings(self) -> pd.DataFrame:
        """A row per run: `run` (index: what tells its folder from the others), status, and every setting in which they differ, as text."""
        return pandas().DataFrame(self._rows(), columns=["run", "status", *self._differing]).set_index("run")

    @cached_property
    def metrics(self) -> pd.DataFrame:
        """`SavedRun.metrics` of every run, one under the other; index: (run, path)."""
        frames = {f.label: curves.metrics(f.run.lines) for f in self._found if f.run is not None}
        return pandas().concat(frames or {"": curves.metrics(())}, names=["run", "path"])

    @cached_property
    def evaluations(self) -> pd.DataFrame:
        """`SavedRun.evaluations` of every run, with its settings joined; first column `run`."""
        frames = [curves.evaluations(f.run.lines).assign(run=f.label) for f in self._found if f.run is not None]
        whole = pandas().concat(frames or [curves.evaluations(()).assign(run="")], ignore_index=True)
        joined = whole.join(self.settings.drop(columns="status"), on="run", rsuffix=" (setting)")
        return joined[["run", *(c for c in joined if c != "run")]]

    @cached_property
    def _differing(self) -> dict[str, list[str]]:
        from ..comparing.settings import differences

        return differences(self._found)

    def _rows(self) -> list[list[str]]:
        columns = list(self._differing.values())
        return [[f.label, f.status, *(column[i] for column in columns)] for i, f in enumerate(self._found)]

    def __repr__(self) -> str:
        lines = ["  ".join([f.label, f.status, *(f"{k}={v[i]}" for k, v in self._differing.items())]) for i, f in enumerate(self._found)]
        more = [f"  ... and {len(lines) - ROWS} more"] if len(lines) > ROWS else []
        return "\n".join([f"SavedRuns: {len(self)}", *(f"  {line}" for line in lines[:ROWS]), *more])

    def _repr_html_(self) -> str:
        title = f"{len(self)} runs" + (f", the first {ROWS}" if len(self._found) > ROWS else "")
        return shown.table(title, ["run", "status", *self._differing], self._rows()[:ROWS])
