"""A run that is about to happen, as launchers see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..ranks import Ranks


@dataclass(frozen=True)
class Job:
    """`spec`: the resolved spec as YAML; `root`: its directory; `resume`: whether it goes on there.

    `here` runs it in this process, as one of the ranks it is given, and returns the value a sweeper optimises (None: the spec names no
    metric).
    """

    spec: str
    root: Path
    resume: bool
    here: Callable[[Ranks], float | None]
