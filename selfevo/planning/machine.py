"""This machine as a cluster of one node. Reads what the driver says; imports no torch and starts no process."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

from .cluster import GIB, GPUS, Cluster

CARDS = Path("/proc/driver/nvidia/gpus")


class _Memory(ctypes.Structure):
    """nvmlMemory_t, in bytes."""

    _fields_ = [("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong)]


def here() -> Cluster:
    """Its GPUs as far as CUDA_VISIBLE_DEVICES shows them, and its memory."""
    found = gpus()
    named = {kind_of(name, memory) for name, memory in found}
    kind = named.pop() if len(named) == 1 else None
    smallest = min((memory for _, memory in found), default=None)
    return Cluster(1, len(found), kind, None if smallest is None else smallest, host_memory())


def gpus() -> list[tuple[str, float]]:
    """(name, GiB) of every GPU that this process may use; [] where there is no driver, or none may be used."""
    if not CARDS.is_dir():
        return []
    found = _told_by_driver()
    shown = os.environ.get("CUDA_VISIBLE_DEVICES")
    if shown is None:
        return found
    chosen = [word.strip() for word in shown.split(",") if word.strip()]
    if not all(word.isdigit() for word in chosen):  # UUIDs, or -1: only how many there are can be told
        return found[: sum(not word.startswith("-") for word in chosen)]
    return [found[int(word)] for word in chosen if int(word) < len(found)]


def _told_by_driver() -> list[tuple[str, float]]:
    """Through NVML, the library that comes with the driver."""
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return []
    if nvml.nvmlInit_v2() != 0:
        return []
    try:
        count = ctypes.c_uint()
        nvml.nvmlDeviceGetCount_v2(ctypes.byref(count))
        return [card for i in range(count.value) if (card := _card(nvml, i)) is not None]
    finally:
        nvml.nvmlShutdown()


def _card(nvml: ctypes.CDLL, index: int) -> tuple[str, float] | None:
    handle, name, memory = ctypes.c_void_p(), ctypes.create_string_buffer(96), _Memory()
    if nvml.nvmlDeviceGetHandleByIndex_v2(index, ctypes.byref(handle)) != 0:
        return None
    if nvml.nvmlDeviceGetName(handle, name, 96) != 0 or nvml.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) != 0:
        return None
    return name.value.decode(errors="replace"), memory.total / GIB


def kind_of(name: str, memory: float) -> str | None:
    """The entry of `GPUS` that a driver's name ("NVIDIA H100 80GB HBM3") and memory stand for, or None."""
    words = name.lower().replace("-", " ").split()
    fits = [kind for kind, gpu in GPUS.items() if kind.partition("-")[0] in words and abs(gpu.memory - memory) < 0.1 * gpu.memory]
    return fits[0] if fits else None


def host_memory() -> float:
    """GiB of memory, or of what the control group of this process may use."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    for file in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        try:
            said = file.read_text().strip()
        except OSError:
            continue
        if said.isdigit():
            total = min(total, int(said) / GIB)
    return total
