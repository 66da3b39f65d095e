"""How many processes train, where engines work, and what is shared, as the spec's launcher says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Launch:
    """`processes` on each of `nodes`, a GPU each; the ZeRO stage that shares training state, and what of it host memory holds. engines:
    replicas of the run's engines with GPUs of their own; 0: they work on the GPUs of the processes."""

    processes: int = 1
    nodes: int = 1
    zero: int = 0
    offload: str = "none"
    engines: int = 0

    @property
    def world(self) -> int:
        """Processes in all."""
        return self.processes * self.nodes

    @classmethod
    def of(cls, node: Mapping[str, Any], gpus: int = 0) -> Launch:
        """From a launcher's node; keys that it lacks (it is one process, this one) have their defaults. `gpus` of a machine: where a
        launcher counts ranks rather than processes of a machine, they fill one after the other."""
        said = {key: node[key] for key in ("processes", "nodes", "zero", "offload", "engines") if node.get(key) is not None}
        if node.get("ranks") is not None:
            nodes = -(-int(node["ranks"]) // gpus) if gpus else 1
            said |= {"processes": -(-int(node["ranks"]) // nodes), "nodes": nodes}
        return cls(**said)
