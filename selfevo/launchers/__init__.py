"""Launchers: where a run's processes start. `Inline` is this process."""

from .inline import Inline

__all__ = ["Inline"]
