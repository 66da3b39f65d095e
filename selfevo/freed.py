"""Memory that is freed and soon wanted again, kept by the process instead of going back and forth to the system."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from typing import Any

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
"""What glibc's `mallopt` calls its settings (malloc.h)."""
LARGEST = 256 << 20
"""Bytes from which on a block is still the system's own, given back when it is freed."""
KEPT = (2 << 30) - 1
"""Most bytes that are free at the end of the heap and not given back."""
SMALL = 1 << 27
"""Parameters of the policies up to which a run does this: what a pass over a larger model needs is better given back."""


def keep_freed_memory(policies: Iterable[Any]) -> bool:
    """Has glibc keep freed blocks, if the policies are small and all of their weights are on a CPU; whether it does now.

    An update of the bundled policy frees and asks again for tens of megabytes at a time. Each time glibc returned them to the system,
    which handed out empty pages one by one on the next touch: some 20,000 page faults an update, 3 to 5 % of its time.
    """
    models = [p.model for p in policies if p.model is not None]
    parameters = [t for model in models for t in model.parameters()]
    if not parameters or sum(t.numel() for t in parameters) > SMALL or any(t.device.type != "cpu" for t in parameters):
        return False
    mallopt = _glibc("mallopt")
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, LARGEST) and mallopt(TRIM_THRESHOLD, KEPT))


def give_back_freed_memory() -> None:
    """Has glibc give everything back that is free now, however much is to be kept from now on."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(name: str) -> Any:
    """A function of glibc; None elsewhere (musl has neither of them)."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
