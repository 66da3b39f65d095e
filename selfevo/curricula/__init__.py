"""Curricula: live choice of tasks (`sample`, `update`), saved with the run."""

from .uniform import Uniform

__all__ = ["Uniform"]
