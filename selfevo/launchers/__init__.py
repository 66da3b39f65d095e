"""Launchers: where a run's processes start. `Inline` is this process, `Torchrun` several that train together."""

from .inline import Inline
from .job import Job
from .torchrun import Torchrun

__all__ = ["Inline", "Job", "Torchrun"]
