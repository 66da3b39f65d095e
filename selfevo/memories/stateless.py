"""What most optimizers of text have in common: nothing of their own to remember."""

from __future__ import annotations

from typing import Any


class Stateless:
    """An optimizer whose decisions rest on the rows and the memory it is given alone."""

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Accepts the empty state; raises ValueError for any other."""
        if state:
            raise ValueError(f"{type(self).__name__} keeps no state, but the saved one has {sorted(state)}")
