"""Curricula: live choice of tasks (`sample`, `update`), saved with the run."""

from .archive import Archive
from .boltzmann import Boltzmann
from .by_level import ByLevel
from .epochs import Epochs
from .fixed import Fixed
from .mixture import Mixture
from .pool import Pool
from .probe_set import ProbeSet
from .task_space import TaskSpace
from .uniform import Uniform
from .window import Window

__all__ = ["Archive", "Boltzmann", "ByLevel", "Epochs", "Fixed", "Mixture", "Pool", "ProbeSet", "TaskSpace", "Uniform", "Window"]
