"""Inline: the run happens in the process that asked for it."""

from __future__ import annotations

from collections.abc import Callable


class Inline:
    """Calls the run and returns its exit status."""

    def launch(self, run: Callable[[], int]) -> int:
        """Exit status of `run()`."""
        return run()
