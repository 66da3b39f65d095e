"""Which committed stages a call means: by stage, path and iteration."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ..errors import UserError, nearest

if TYPE_CHECKING:
    from ..report.read import Line

Stages = str | Sequence[str] | None
Iterations = int | Iterable[int] | None


def pick(
    lines: Sequence[Line], kinds: Sequence[str], stage: Stages = None, iteration: Iterations = None, path: str | None = None
) -> list[Line]:
    """The commits, in order, whose tables are of one of `kinds` ("rows", "scores", "samples"; empty: any table).

    `stage`: a name or several. `iteration`: a number of the run's outermost loop or several; negative ones count from the end of what
    is there. `path`: a place in the loop ("main.3", "start"). Raises UserError for a name or place that no such commit has.
    """
    of_kind = [line for line in lines if line.entry.get("table") and (not kinds or line.entry["table"] in kinds)]
    if stage is not None:
        wanted = [stage] if isinstance(stage, str) else list(stage)
        known = {line.stage: str(line.entry["table"]) for line in of_kind}
        for name in wanted:
            if name not in known:
                raise UserError(f"stage '{name}': has committed no {_what(kinds)}{nearest(name, known)}")
        of_kind = [line for line in of_kind if line.stage in wanted]
    if path is not None:
        places = dict.fromkeys(line.path for line in of_kind)
        if path not in places:
            raise UserError(f"path '{path}': nothing with {_what(kinds)} was committed there{nearest(path, places)}")
        of_kind = [line for line in of_kind if line.path == path]
    if iteration is not None:
        there = sorted({line.iteration for line in of_kind})
        numbers = [iteration] if isinstance(iteration, int) else list(iteration)
        for n in numbers:
            if (n >= 0 and n not in there) or n < -len(there):
                held = f"there are {there[0]} to {there[-1]}" if there else "there are none"
                raise UserError(f"iteration {n}: no {_what(kinds)} from it; {held}")
        chosen = {n if n >= 0 else there[n] for n in numbers}
        of_kind = [line for line in of_kind if line.iteration in chosen]
    return of_kind


def _what(kinds: Sequence[str]) -> str:
    return {("rows",): "trajectories", ("rows", "scores"): "scores", ("samples",): "samples"}.get(tuple(kinds), "table")
