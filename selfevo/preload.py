"""PyTorch's largest library, loaded by a thread while the main one composes and checks a spec."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from importlib.util import find_spec
from pathlib import Path


def preload() -> threading.Thread | None:
    """Begins to load it, if it is not there yet; None where nothing is begun: `import torch` then loads it as ever.

    Linking it is a seventh of what `import torch` takes, and reading it from a disk may take longer than all the rest. Builds for GPUs
    are left alone: which of CUDA's libraries comes first is a matter that PyTorch settles itself.
    """
    found = find_spec("torch") if sys.platform.startswith("linux") and "torch" not in sys.modules else None
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "lib"
    files = [folder / "libtorch_global_deps.so", folder / "libtorch_cpu.so"]  # in PyTorch's order, and its way
    if (folder / "libtorch_cuda.so").exists() or not all(file.exists() for file in files):
        return None
    thread = threading.Thread(target=_load, args=(files,), name="libtorch")
    thread.start()
    return thread


def _load(files: list[Path]) -> None:
    """Not by `ctypes.CDLL`, which holds the interpreter's lock meanwhile; a function called through it does not. What fails here fails
    again, and is told, when torch is imported."""
    dlopen = getattr(ctypes.CDLL(None), "dlopen", None)
    if dlopen is None:
        return
    dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
    for file, mode in zip(files, (os.RTLD_GLOBAL, os.RTLD_LOCAL), strict=True):
        dlopen(os.fsencode(file), os.RTLD_NOW | mode)
