"""Tells the command that started a sweep where its folder is, whatever launcher and sweeper run it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.experimental.callback import Callback

from .jobs import Jobs

if TYPE_CHECKING:
    from omegaconf import DictConfig


class Announce(Callback):
    """A callback of Hydra's that `selfevo run -m` adds. Hydra makes the folder's name (it may hold the time) and tells nobody else."""

    OVERRIDE = "++hydra.callbacks.selfevo._target_=selfevo.sweeps.announce.Announce"

    jobs: ClassVar[Jobs | None] = None
    """The jobs of the sweep that this process directs."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember the folder, and forget what an earlier command said of jobs that did not finish."""
        Announce.jobs = Jobs(Path(str(config.hydra.sweep.dir)))
        with suppress(OSError):  # a folder that cannot be written is met, and named, when it is made
            Announce.jobs.begin()
