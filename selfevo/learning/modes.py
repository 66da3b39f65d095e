"""Small frames around a call: another name, seeded generators, training mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..protocols import RunCtx


class Named:
    """A run context under another component's name; everything else is passed on."""

    def __init__(self, ctx: RunCtx, name: str):
        self._ctx, self.name = ctx, name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._ctx, attribute)


@contextmanager
def seeded(seed: int, device: Any) -> Iterator[None]:
    """PyTorch's generators (dropout) start from `seed` and are put back afterwards."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


@contextmanager
def training(model: Any, checkpointing: bool) -> Iterator[None]:
    """Training mode, with activations recomputed if asked; both are put back."""
    was = model.training
    model.train()
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    try:
        yield
    finally:
        if checkpointing:
            model.gradient_checkpointing_disable()
        model.train(was)
