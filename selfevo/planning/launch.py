"""How many processes train, and what they share, as the spec's launcher says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Launch:
    """`processes` on each of `nodes`, a GPU each; the ZeRO stage that shares training state, and what of it host memory holds."""

    processes: int = 1
    nodes: int = 1
    zero: int = 0
    offload: str = "none"

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.processes * self.nodes

    @classmethod
    def of(cls, node: Mapping[str, Any]) -> Launch:
        """From a launcher's node; keys that it lacks (it is one process, this one) have their defaults."""
        return cls(**{key: node[key] for key in ("processes", "nodes", "zero", "offload") if node.get(key) is not None})
