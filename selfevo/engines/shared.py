"""Memory that forked processes see each other's changes in."""

from __future__ import annotations

import math
import mmap
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from .slots import LINE


class Room:
    """Memory cut into tensors in the order in which they are asked for: who asks in the same order elsewhere has the same ones."""

    def __init__(self, size: int):
        self._memory, self._used, self._fills = mmap.mmap(-1, max(size, 1)), 0, True

    def again(self, fill: bool) -> Room:
        """From the start. `fill`: write to the tensors, which nobody else may be reading then."""
        self._used, self._fills = 0, fill
        return self

    def __call__(self, shape: Sequence[int], dtype: torch.dtype, fill: Callable[[Tensor], object]) -> Tensor:
        """The next tensor, which begins with a cache line. Raises ValueError where no room is left."""
        count, start = math.prod(shape), self._used
        self._used += -(-count * dtype.itemsize // LINE) * LINE
        tensor = torch.frombuffer(self._memory, dtype=dtype, count=count, offset=start).view(tuple(shape))
        if self._fills:
            fill(tensor)
        return tensor


def room_for(tensors: Iterable[Tensor]) -> Room:
    """Room for tensors of these sizes."""
    return Room(sum(t.numel() * t.element_size() + LINE for t in tensors))


def share(tensors: Iterable[Tensor]) -> None:
    """Move tensors on a CPU, which stay the same objects, to memory that processes forked later see changes in.

    Each begins with a cache line, as `models` has them: what a product rounds to depends on it.
    """
    found = [t for t in tensors if t.numel()]
    room = room_for(found)  # the tensors hold on to it
    for tensor in found:
        old = tensor.data
        tensor.data = room(old.shape, old.dtype, lambda new, old=old: new.copy_(old))  # type: ignore[misc]
