"""The machine itself: Python, memory, disk, the place of outputs, and what PyTorch can do with its processors."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..planning.cluster import GIB
from ..planning.machine import gpus, host_memory
from .findings import Finding, first_line

OLDEST = (3, 11)
ROOM = 5.0
"""GiB of disk below which a run of real size cannot keep its weights."""
PROBE = """
import json, torch
cuda = torch.cuda.is_available()
amx = getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)()
avx = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)()
cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({
    "version": torch.__version__, "built": torch.version.cuda, "cuda": cuda, "threads": torch.get_num_threads(),
    "amx": bool(amx), "avx512_bf16": bool(avx), "capability": torch.backends.cpu.get_cpu_capability(),
    "cards": [[c.name, c.total_memory, [c.major, c.minor]] for c in cards],
    "bf16": bool(cuda and torch.cuda.is_bf16_supported()),
}))
"""
"""What a process of its own asks PyTorch: importing it takes seconds, and a broken one may end the process that does."""


def python() -> Finding:
    """Its version."""
    found = platform.python_version()
    good = sys.version_info >= OLDEST
    advice = "" if good else f"selfevo needs Python {OLDEST[0]}.{OLDEST[1]} or newer"
    return Finding("Python", "ok" if good else "problem", found, advice, needed=True)


def memory() -> Finding:
    """What this process may use, and what is free."""
    total = host_memory()
    free = _available()
    said = f"{total:.1f} GiB" + (f", {min(free, total):.1f} free" if free is not None else "")
    return Finding("memory", "ok", f"{said}; {len(os.sched_getaffinity(0))} cores")


def _available() -> float | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("MemAvailable")), None)
    return None if kib is None else int(kib) * 1024 / GIB


def outputs(folder: Path) -> list[Finding]:
    """Whether runs can write where they will, and how much."""
    near = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    try:
        with tempfile.NamedTemporaryFile(dir=near):
            pass
    except OSError as error:
        why = f"{folder} cannot be written ({error.strerror})"
        what = Finding("outputs", "problem", why, "choose another with hydra.run.dir=DIR", needed=True)
    else:
        what = Finding("outputs", "ok", f"{folder} can be written", needed=True)
    free = shutil.disk_usage(near).free / GIB
    full = free < ROOM
    return [what, Finding("disk", "problem" if full else "ok", f"{free:.1f} GiB free at {near.absolute()}",
                          "checkpoint.keep=1 keeps fewer weights; or hydra.run.dir=DIR on another disk" if full else "")]  # fmt: skip


def torch() -> list[Finding]:
    """PyTorch, the GPUs it can use, and 16-bit arithmetic."""
    try:
        done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return [Finding("PyTorch", "problem", "its import does not end", "reinstall it: pip install --force-reinstall torch", True)]
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["its import ended the process"]
        return [Finding("PyTorch", "problem", first_line(last[0]), "pip install torch==2.13.*", True)]
    facts = json.loads(done.stdout.splitlines()[-1])
    return [Finding("PyTorch", "ok", f"{facts['version']}, {facts['threads']} threads", needed=True), _cards(facts), _half(facts)]


def _cards(facts: dict[str, Any]) -> Finding:
    there = gpus()
    if facts["cards"]:
        name, size, _ = facts["cards"][0]
        return Finding("GPUs", "ok", f"{len(facts['cards'])} x {name}, {size / GIB:.0f} GiB, CUDA {facts['built']}")
    if there:
        why = f"this PyTorch is built without CUDA: pip install torch (not {facts['version']})"
        return Finding("GPUs", "problem", f"{len(there)} x {there[0][0]}, which PyTorch cannot use",
                       why if facts["built"] is None else f"the driver is too old for CUDA {facts['built']}: update it")  # fmt: skip
    return Finding("GPUs", "missing", "none", "runs are on the CPU: fine for the bundled policy; selfevo plan tells what others need")


def _half(facts: dict[str, Any]) -> Finding:
    """Whether bfloat16 is fast here, on what runs will compute on."""
    if facts["cards"]:
        good, how = facts["bf16"], "GPU of capability " + ".".join(map(str, facts["cards"][0][2]))
    else:
        kinds = [name for name, there in (("AMX", facts["amx"]), ("AVX512-BF16", facts["avx512_bf16"])) if there]
        good, how = bool(kinds), f"CPU with {' and '.join(kinds)}" if kinds else f"CPU with {facts['capability']} only"
    advice = "" if good else "it works, but slowly: model.dtype=float32 is faster here"
    return Finding("bfloat16", "ok" if good else "missing", how, advice)
