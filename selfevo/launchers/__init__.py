"""Launchers: where a run's processes start. `Inline` is this process, `Torchrun` several that train together, `Ray` a cluster's."""

from .inline import Inline
from .job import Job
from .ray import Ray
from .torchrun import Torchrun

__all__ = ["Inline", "Job", "Ray", "Torchrun"]
