"""Going back: the optimizer that names an older version of a memory again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..protocols import RunCtx
from ..records import Row, Version
from .memory import Memory


class Restore:
    """The version behind an alias, for a train stage with `promote: current`: the same files, byte for byte, since it is the same version.

    Args:
        alias: the version gone back to ("best", which evaluations move). Where nothing moved it yet, nothing happens.
    """

    def __init__(self, alias: str = "best"):
        self.alias = alias

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """That version; the rows say nothing here."""
        return target.resolve(self.alias) if self.alias in target.aliases else None

    def state_dict(self) -> dict[str, Any]:
        """Empty."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Accepts the empty state; raises ValueError for any other."""
        if state:
            raise ValueError(f"Restore keeps no state, but the saved one has {sorted(state)}")
