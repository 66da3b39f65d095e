"""Inline: the run happens in the process that asked for it."""

from __future__ import annotations

from ..ranks import Ranks
from .job import Job


class Inline:
    """One process, this one."""

    def launch(self, job: Job) -> float | None:
        """The value a sweeper optimises."""
        return job.here(Ranks())
