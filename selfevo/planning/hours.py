"""FLOPs of a pass, and the seconds they take.

    score   2 M + 4 L q (P + T) / 2 FLOPs per token: two per parameter M that
            multiplies, and attention to half the row on average
    train   3 times that (forward, and twice as much backward), or 4 times
            where activations are recomputed
    hours   FLOPs / (GPUs flops training)
"""

from __future__ import annotations

from .cluster import Cluster
from .shapes import Shape


def forward_flops(shape: Shape, length: float) -> float:
    """Per token of rows of `length` tokens."""
    return 2.0 * shape.products + 4.0 * shape.layers * shape.heads * shape.width * length / 2


def train_flops(shape: Shape, length: float, recomputed: bool) -> float:
    """The same with its backward pass."""
    return forward_flops(shape, length) * (4 if recomputed else 3)


def seconds(flops: float, cluster: Cluster, gpus: int) -> float:
    """On so many GPUs at the utilisation the cluster states; 0 where the kind of GPU is not known."""
    return 0.0 if cluster.kind is None else flops / (gpus * cluster.kind.flops * cluster.training)
