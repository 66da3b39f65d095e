"""The processes of a run: one leads, the others follow, and all train.

Every rank builds the same run and walks the same loop. Weights are trained by all of them together. What samples, judges or writes is
done by the main rank; the others answer what it asks of an engine (each with its share of the requests) and are told what came out.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from .errors import SelfevoError, UserError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")
MIXED = "ACCELERATE_MIXED_PRECISION"
"""Where Accelerate's launcher leaves the precision that it was asked for."""
PATIENCE = timedelta(days=7)
"""How long a rank waits for another: a stage may take a day. A rank that dies is noticed by the launcher, which ends the others."""


@dataclass(frozen=True, slots=True)
class Zero:
    """How DeepSpeed shares a policy's training state among ranks (Rajbhandari et al. 2020).

    stage 1: optimizer state; 2: gradients too; 3: weights too. offload: "optimizer" keeps optimizer state in host memory, "all" the
    weights of stage 3 too.
    """

    stage: Literal[1, 2, 3]
    offload: Literal["none", "optimizer", "all"] = "none"


class Followed(SelfevoError):
    """The main rank ended its work; it has said why."""

    printed = True


class Ranks:
    """This process among those of the run. A run of one process makes no use of torch here until something trains."""

    def __init__(self, zero: Zero | None = None):
        self.zero = zero
        self.count = int(os.environ.get("WORLD_SIZE", "1"))
        self.index = int(os.environ.get("RANK", "0"))
        self._accelerator: Any = None
        self._control: Any = None
        if zero is not None and "RANK" not in os.environ:
            raise UserError("ZeRO shares state among the processes of a launcher: use launcher=torchrun or launcher=ray")

    @property
    def main(self) -> bool:
        """Whether this rank leads."""
        return self.index == 0

    @property
    def accelerator(self) -> Any:
        """Accelerate's view of the processes; the first call joins them."""
        if self._accelerator is None:
            from accelerate import Accelerator

            self._accelerator = Accelerator()
            if self._accelerator.num_processes != self.count:
                raise UserError(f"ranks: the launcher started {self.count} processes, Accelerate found {self._accelerator.num_processes}")
        return self._accelerator

    # what is said among ranks: any Python values, over the CPU

    def broadcast(self, value: Any = None) -> Any:
        """The main rank's value, on every rank."""
        if self.count == 1:
            return value
        import torch.distributed as dist

        box = [value if self.main else None]
        dist.broadcast_object_list(box, src=0, group=self._group())
        return box[0]

    def gather(self, value: T) -> list[T]:
        """Every rank's value, by rank, on every rank."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        out: list[Any] = [None] * self.count
        dist.all_gather_object(out, value, group=self._group())
        return out

    def agree(self, flag: bool) -> bool:
        """Whether any rank says so."""
        return any(self.gather(flag))

    def same(self, value: object, what: str) -> None:
        """Raises UserError when ranks do not hold one value: they would train different models under one name."""
        if self.count == 1:
            return
        values = self.gather(value)
        for rank, other in enumerate(values):
            if other != values[0]:
                raise UserError(f"ranks disagree on {what}: rank 0 has {values[0]}, rank {rank} has {other}")

    def lead(self, work: Callable[[], T], answer: Callable[[Any], object]) -> T:
        """`work()` of the main rank, whose result every rank gets; meanwhile the others answer what it asks (`ask`)."""
        if self.count == 1:
            return work()
        if self.main:
            try:
                result = work()
            except BaseException:
                self.broadcast(("failed", None))
                raise
            self.broadcast(("done", result))
            return result
        while True:
            kind, value = self.broadcast()
            if kind == "done":
                return value
            if kind == "failed":
                raise Followed("the main rank failed")
            answer(value)

    def ask(self, question: object) -> None:
        """From within `lead` on the main rank: have the others answer too."""
        if self.count > 1 and self.main:
            self.broadcast(("ask", question))

    def _group(self) -> Any:
        if self._control is None:
            import torch.distributed as dist

            assert self.accelerator is not None
            self._control = dist.new_group(backend="gloo", timeout=PATIENCE)
        return self._control

    # what training asks

    def share(self, parts: Sequence[T]) -> list[T]:
        """This rank's micro-batches: every `count`-th, so that long and short ones are spread evenly."""
        return list(parts[self.index :: self.count])

    def rounds(self, parts: Sequence[T]) -> list[tuple[T, bool]]:
        """The same, as many on every rank: collectives inside a pass need every rank. A repeat that fills up is marked False."""
        mine = self.share(parts)
        return [(p, True) for p in mine] + [(parts[0], False)] * (-(-len(parts) // self.count) - len(mine))

    def block(self, items: Sequence[T]) -> Sequence[T]:
        """This rank's run of consecutive items, so that equal neighbours stay together; the blocks of all ranks make up the whole."""
        n = len(items)
        return items[n * self.index // self.count : n * (self.index + 1) // self.count]

    def join(self, found: Mapping[int, Any]) -> dict[int, Any]:
        """The union of what the ranks computed."""
        return {i: value for part in self.gather(dict(found)) for i, value in part.items()}

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Sum tensors over ranks, in place, as one flat message."""
        if self.count == 1 or not tensors:
            return
        import torch

        dtype = torch.float64 if any(t.dtype == torch.float64 for t in tensors) else torch.float32
        flat = torch.cat([t.detach().reshape(-1).to(dtype) for t in tensors])
        flat = self.accelerator.reduce(flat, reduction="sum")
        at = 0
        for t in tensors:
            t.copy_(flat[at : at + t.numel()].view_as(t))
            at += t.numel()

    def autocast(self) -> Any:
        """Mixed precision as launched (none by default)."""
        if self.count == 1 and MIXED not in os.environ:
            return nullcontext()
        return self.accelerator.autocast()

    def leave(self) -> None:
        """End the group of processes."""
        if self._accelerator is not None and self.count > 1:
            import torch.distributed as dist

            if dist.is_initialized():
                dist.destroy_process_group()
            self._accelerator = self._control = None
