"""Several processes, one update. Every rank is given the same rows and knows every sample, so denominators need no exchange;
each rank runs its share of the micro-batches, and gradients and sums are added up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class Ranks:
    """What the learner asks of Accelerate."""

    def __init__(self) -> None:
        from accelerate import Accelerator

        self.accelerator = Accelerator()
        self.count: int = self.accelerator.num_processes

    def share(self, parts: list[list[int]]) -> list[list[int]]:
        """This rank's micro-batches: every `count`-th, so that long and short ones are spread evenly."""
        return parts[self.accelerator.process_index :: self.count]

    def join(self, found: dict[int, Any]) -> dict[int, Any]:
        """The union of what the ranks computed."""
        if self.count == 1:
            return found
        from accelerate.utils import gather_object

        return {i: value for part in gather_object([found]) for i, value in part.items()}

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over ranks, in place, as one flat message."""
        if self.count == 1 or not tensors:
            return
        flat = torch.cat([t.detach().reshape(-1).float() for t in tensors])
        flat = self.accelerator.reduce(flat, reduction="sum")
        at = 0
        for t in tensors:
            t.copy_(flat[at : at + t.numel()].view_as(t))
            at += t.numel()

    def backward(self, loss: Tensor) -> None:
        """Gradients of this rank's part of the loss."""
        self.accelerator.backward(loss)

    def autocast(self) -> Any:
        """Mixed precision as launched (none by default)."""
        return self.accelerator.autocast()
