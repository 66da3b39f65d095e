"""A job of a sweep in the process that Hydra calls it in: under Hydra's basic launcher, or a launcher from elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..cli import complain
from ..errors import EXIT_STOPPED, SelfevoError, Stopped
from ..spec import check
from . import again
from .announce import Announce
from .jobs import Jobs, Outcome

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run_here(cfg: DictConfig, hydra: Any, root: Path) -> float | None:
    """Run the job and write what became of it; returns the metric a sweeper optimises.

    A failure is raised only where somebody has to hear of it: an optimiser, not Hydra's own sweeper, which would end the sweep.
    """
    jobs = Announce.jobs if Announce.jobs is not None else Jobs(Path(str(hydra.sweep.dir)))
    outcome = Outcome(int(hydra.job.num), tuple(hydra.overrides.task), str(root), "running")
    jobs.write(outcome)
    try:
        value = again.run(check(cfg), root)
    except SelfevoError as error:
        complain(error)  # now, since the sweep goes on with its other jobs
        jobs.write(outcome.ended(error))
        if isinstance(error, Stopped):
            raise KeyboardInterrupt from error  # Ctrl-C is meant for the whole sweep, not for this job
        if not basic(hydra.sweeper):
            raise
        return None
    except KeyboardInterrupt:
        jobs.write(replace(outcome, state="stopped", exit_code=EXIT_STOPPED, error="stopped before the run began"))
        raise
    jobs.write(outcome.done(value))
    return value


def basic(part: Any) -> bool:
    """Whether this launcher or sweeper is Hydra's own."""
    return str(part._target_).startswith("hydra._internal.core_plugins.basic_")
