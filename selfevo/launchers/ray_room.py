"""Room on a Ray cluster: everything a run needs is reserved before anything starts, or refused in one line."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError

KINDS = ("rank", "engine", "verifier")
NAMES = {"rank": "training rank", "engine": "engine replica", "verifier": "verifier worker"}
HIDDEN = ("memory", "object_store_memory")
PAUSE = 0.1


@dataclass(frozen=True)
class Needs:
    """What `count` processes of one kind each reserve, under Ray's names: {"CPU": 1, "GPU": 1, "fast_disk": 0.1}."""

    kind: str
    count: int
    resources: Mapping[str, float]

    def __str__(self) -> str:
        return f"{self.count} {NAMES[self.kind]}{'s' if self.count != 1 else ''} with {shown(self.resources)}" + " each" * (self.count != 1)


@dataclass(frozen=True)
class Room:
    """Reserved resources. The processes of each kind have bundles of a placement group, in the order of `needs`."""

    group: Any
    needs: Sequence[Needs]

    def count(self, kind: str) -> int:
        """How many processes of a kind there is room for."""
        return sum(n.count for n in self.needs if n.kind == kind)

    def options(self, kind: str, index: int) -> dict[str, Any]:
        """Options of the actor that is the `index`-th process of its kind."""
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        before = 0
        for needs in self.needs:
            if needs.kind == kind:
                break
            before += needs.count
        wanted = dict(needs.resources)
        strategy = PlacementGroupSchedulingStrategy(self.group, before + index)
        cpus, gpus = wanted.pop("CPU", 0.0), wanted.pop("GPU", 0.0)
        return {"num_cpus": cpus, "num_gpus": gpus, "resources": wanted, "scheduling_strategy": strategy, "max_restarts": 0}

    def release(self) -> None:
        """Give it back; what still runs there is ended."""
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self.group)


def reserve(needs: Sequence[Needs], strategy: str, wait: float) -> Room:
    """Reserve all of it. Raises UserError at once where the cluster cannot hold it, and after `wait` seconds where others hold it."""
    import ray
    from ray.util.placement_group import placement_group, placement_group_table

    bundles = [dict(n.resources) for n in needs for _ in range(n.count)]
    nodes = [n["Resources"] for n in ray.nodes() if n["Alive"]]
    asked: Counter[str] = Counter()
    for bundle in bundles:
        asked.update(bundle)
    held: Counter[str] = Counter()
    for node in nodes:
        held.update(node)
    words = ", ".join(str(n) for n in needs if n.count)
    said = f"launcher ray: asked for {words}, placed '{strategy}'; the cluster has {cluster(nodes)}"
    if any(asked[name] > held[name] for name in asked) or (strategy == "strict_spread" and len(bundles) > len(nodes)):
        raise UserError(said)
    room = Room(placement_group(bundles, strategy=strategy.upper()), needs)
    end = time.monotonic() + wait
    try:
        while (table := placement_group_table(room.group))["state"] != "CREATED":
            if table["stats"]["scheduling_state"] == "INFEASIBLE":
                raise UserError(said)
            if time.monotonic() > end:
                raise UserError(f"{said}, of which {shown(ray.available_resources())} was free, for {wait:g} s")
            time.sleep(PAUSE)
    except BaseException:
        room.release()
        raise
    return room


def cluster(nodes: Sequence[Mapping[str, float]]) -> str:
    """ "2 nodes with CPU 8, GPU 8 and 1 with CPU 4"."""
    kinds = Counter(shown(node) for node in nodes)
    said = [f"{count} node{'s' if count != 1 else ''} with {what}" for what, count in kinds.items()]
    return " and ".join(sorted(said)) or "no nodes"


def shown(resources: Mapping[str, float]) -> str:
    """ "CPU 2, GPU 1", without what Ray counts for itself."""
    own = ("node:", "accelerator_type:")
    kept = {k: v for k, v in resources.items() if k not in HIDDEN and not k.startswith(own) and "_group_" not in k}
    return ", ".join(f"{name} {value:g}" for name, value in sorted(kept.items())) or "nothing"
