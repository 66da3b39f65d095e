"""What an engine takes on a GPU while it generates, and how fast it can be.

With N parameters at b bytes, P prompt and T reply tokens, and a cache of c = 2 L K d b bytes per token:

    vllm    memory_share of the GPU: weights N b / tensor_parallel, 2 GiB to
            work in, the rest cache; or these with a cache of cache_gib
    native  cache 2 c min(cache_tokens, max_batch (P + T)), since its columns
            grow by doubling; the weights are the policy's own
    step    seconds to decode a token of R replies on G GPUs, the longer of
            (N b + R c (P + T / 2)) / (G bandwidth decoding)
            2 M R / (G flops training)
    R       what the cache holds at P + T / 2 tokens each, at most max_batch

M are the parameters that multiply. "decoding" and "training" are the shares of bandwidth and FLOP/s that the cluster states. While a
policy trains vLLM takes nothing if it may sleep; if it has GPUs of its own they are planned apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .cluster import GIB, Cluster
from .launch import Launch
from .settings import settings
from .shapes import Shape

WORKSPACE = 2.0 * GIB
"""What vLLM holds beside weights and cache: activations of its largest batch, graphs (ours, for models up to some tens of billions)."""


@dataclass(frozen=True, slots=True)
class Serving:
    """An engine that serves one policy on this cluster's GPUs.

    group: GPUs that hold one copy of the model; groups: how many there are. share: bytes of a GPU while it generates; rest: while a
    policy trains; host: of each copy in host memory meanwhile. apart: it has GPUs of its own. weights, cache: bytes per GPU within its
    share. room: tokens one group's cache holds. most: replies of one group at once, by its own settings.
    """

    kind: str
    group: int
    groups: int
    share: float
    rest: float
    host: float
    apart: bool
    weights: float
    cache: float
    room: float
    most: int

    @property
    def gpus(self) -> int:
        """All it runs on."""
        return self.group * self.groups


def serving(
    node: Mapping[str, Any], shape: Shape, width: int, cluster: Cluster, launch: Launch, prompt: int, reply: int, ahead: bool = False
) -> Serving | None:
    """Of an engine's node, for a model at `width` bytes per number; `ahead`: it also works while a policy trains. None for an engine that
    holds no weights here (scripted, remote)."""
    said = settings(node)
    assert cluster.memory is not None
    own = float(shape.parameters * width) if launch.engines else 0.0  # a replica has a copy of the policy, beside vLLM's of its weights
    if "tensor_parallel" in said:
        group, groups = int(said["tensor_parallel"]), int(said["replicas"])
        width = {"float32": 4, "bfloat16": 2, "float16": 2}.get(str(said["dtype"]), width)
        weights = shape.parameters * width / group
        share = float(said["memory_share"]) * cluster.memory * GIB
        if said["cache_gib"] is not None:
            share = weights + WORKSPACE + float(said["cache_gib"]) * GIB
        cache = max(0.0, share - weights - WORKSPACE)
        apart = bool(launch.engines) or (said["gpus"] is not None and min(said["gpus"]) >= launch.processes)
        host = float(shape.parameters * width) if said["sleep"] == 1 else 0.0
        room = cache * group / (shape.kv_values * width)
        rest = 0.0 if said["sleep"] and not ahead else share
        groups *= max(1, launch.engines)
        share += own
        return Serving("vllm", group, groups, share, rest, host, apart, weights, cache, room, int(said["max_batch"]))
    if "cache_tokens" in said:
        most = max(1, min(int(said["max_batch"]), int(said["cache_tokens"]) // (prompt + reply)))
        room = 2 * most * (prompt + reply)
        cache = float(room * shape.kv_values * width)
        groups = launch.engines or launch.world
        return Serving("native", 1, groups, cache + own, cache if ahead else 0.0, 0.0, bool(launch.engines), 0.0, cache, room, most)
    return None


def decode_seconds(served: Serving, shape: Shape, width: int, cluster: Cluster, rows: float, prompt: float, reply: float) -> float:
    """To sample `rows` replies of `reply` tokens on all groups at once, after `prompt` tokens that are in the cache already."""
    if rows <= 0 or cluster.kind is None:
        return 0.0
    each = rows / served.groups
    at_once = max(1.0, min(each, served.most, served.room / (prompt + reply / 2)))
    cached = at_once * shape.kv_values * width * (prompt + reply / 2)
    reading = (shape.parameters * width + cached) / (served.group * cluster.kind.bandwidth * cluster.decoding)
    computing = 2.0 * shape.products * at_once / (served.group * cluster.kind.flops * cluster.training)
    return each / at_once * reply * max(reading, computing)
