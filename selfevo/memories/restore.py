"""Going back: the optimizer that names an older version of a memory again."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocols import RunCtx
from ..records import Row, Version
from .memory import Memory
from .stateless import Stateless


class Restore(Stateless):
    """The version behind an alias, for a train stage with `promote: current`: the same files, byte for byte, since it is the same version.

    Args:
        alias: the version gone back to ("best", which evaluations move). Where nothing moved it yet, nothing happens.
    """

    def __init__(self, alias: str = "best"):
        self.alias = alias

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """That version; the rows say nothing here."""
        return target.resolve(self.alias) if self.alias in target.aliases else None
