"""A job whose directory is there already: the same run, given again, is gone on with, or was finished before."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import UserError, nearest
from ..records import digest
from ..report.read import json_lines
from ..spec import dump
from ..store import MANIFEST, METRICS

if TYPE_CHECKING:
    from ..spec import RunSpec


def found(spec: RunSpec, root: Path) -> Literal["nothing", "unfinished", "finished"]:
    """What there is of this run in its directory. Raises UserError where the directory holds a run of another spec."""
    manifest = json_lines(root / MANIFEST)
    if not manifest:
        return "nothing"
    if manifest[0].get("spec") != digest(dump(spec), 64):
        raise UserError(
            f"{root}: holds a run with other settings than this job of the sweep; choose another folder with hydra.sweep.dir=DIR"
        )
    return "finished" if any(entry["stage"] == "end" and not entry["path"] for entry in manifest) else "unfinished"


def last_value(spec: RunSpec, root: Path) -> float | None:
    """The last committed value of `spec.metric` in a finished run; None where the spec names none. Raises UserError as the run did."""
    if spec.metric is None:
        return None
    logged = {name: value for line in json_lines(root / METRICS) for name, value in line["metrics"].items()}
    if spec.metric not in logged:
        raise UserError(f"metric: no stage logged '{spec.metric}'{nearest(spec.metric, logged)}")
    return float(logged[spec.metric])


def run(spec: RunSpec, root: Path) -> float | None:
    """Start the job, go on with it, or take it as finished; returns the metric that a sweeper optimises."""
    from ..commands.run import launch

    state = found(spec, root)
    return last_value(spec, root) if state == "finished" else launch(spec, root, resume=state == "unfinished")
