"""A described cluster: what a plan holds a spec against. Importing this module imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UserError, nearest

GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU: memory that a process sees in GiB, dense bf16 FLOP/s, memory bandwidth in bytes/s (its maker's data sheet)."""

    memory: float
    flops: float
    bandwidth: float


GPUS = {
    "a100-40g": Gpu(39.4, 312e12, 1.555e12),
    "a100-80g": Gpu(79.1, 312e12, 2.039e12),
    "h100-80g": Gpu(79.1, 989e12, 3.35e12),
    "h200-141g": Gpu(139.8, 989e12, 4.8e12),
}


class Cluster:
    """Nodes of equal GPUs. Interpolate it where a spec needs the same numbers: launcher.processes: ${cluster.gpus}.

    Args:
        nodes: machines. gpus: of each machine; 0: none, its memory is that of the host.
        gpu: their kind (see `GPUS`), or null where `memory` says enough; without a kind no times are given.
        memory: GiB of one GPU, in place of the kind's.
        host_memory: GiB of one node.
        address: host:port where several nodes meet (launcher.address).
        reserve: share of a GPU's memory that nothing is planned into: the CUDA context, buffers of collectives, fragments.
        training: share of the peak FLOP/s that passes with a gradient, and passes that only score, reach.
        decoding: share of the bandwidth that decoding reaches.
    """

    def __init__(
        self,
        nodes: int = 1,
        gpus: int = 8,
        gpu: str | None = "h100-80g",
        memory: float | None = None,
        host_memory: float = 1024.0,
        address: str | None = None,
        reserve: float = 0.08,
        training: float = 0.4,
        decoding: float = 0.6,
    ):
        if nodes < 1 or gpus < 0:
            raise UserError(f"cluster: nodes must be at least 1 and gpus at least 0, not {nodes} and {gpus}")
        if gpu is not None and gpu not in GPUS:
            raise UserError(f"cluster.gpu: no GPU '{gpu}' is known here{nearest(gpu, GPUS)}; or give cluster.gpu=null cluster.memory=GIB")
        if gpu is None and memory is None and gpus:
            raise UserError("cluster: give the GPUs' kind (gpu) or their memory in GiB (memory)")
        for name, value in (("memory", memory), ("host_memory", host_memory)):
            if value is not None and not value > 0:
                raise UserError(f"cluster.{name} must be above 0, not {value}")
        for name, share in (("reserve", 1 - reserve), ("training", training), ("decoding", decoding)):
            if not 0 < share <= 1:
                raise UserError(f"cluster.{name} must be a share between 0 and 1, not {1 - share if name == 'reserve' else share}")
        self.nodes, self.gpus, self.gpu, self.host_memory, self.address = nodes, gpus, gpu, host_memory, address
        self.reserve, self.training, self.decoding = reserve, training, decoding
        self.kind = None if gpu is None else GPUS[gpu]
        self.memory = host_memory if not gpus else memory if memory is not None or self.kind is None else self.kind.memory

    @property
    def room(self) -> float:
        """Bytes of one device that may be planned into."""
        assert self.memory is not None
        return self.memory * GIB * (1 - self.reserve)

    def __str__(self) -> str:
        device = f"{self.gpus} x {self.gpu or 'GPU'} ({self.memory:.0f} GiB each)" if self.gpus else f"no GPU ({self.memory:.0f} GiB)"
        return device if self.nodes == 1 else f"{self.nodes} nodes of {device}"
