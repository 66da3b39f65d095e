"""How long commands take from nothing: whole processes, and a run's first sampled token. One thread."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from .figures import Figure, interleaved

THREADS = 1
QUICKSTART = "+experiment=quickstart"
BIN = Path(sys.executable).parent
TRL_HELP, TRL_IMPORT = "trl --help", "import trl"


def process(*command: str) -> None:
    """Run a command to its end. Raises CalledProcessError when it fails."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # an installed package is compiled
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


def first_token() -> float:
    """Seconds from before the process exists to the first token that its engine has drawn."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "first"
        began = time.monotonic()
        process(sys.executable, "-m", "benchmarks.first_token", str(out), "run", QUICKSTART, f"hydra.run.dir={folder}/run")
        return float(out.read_text()) - began


def imports(*modules: str) -> None:
    """A process that does nothing but import, no garbage collected meanwhile: what a start cannot go below."""
    process(sys.executable, "-c", ";".join(["import gc", "gc.disable()", *(f"import {module}" for module in modules)]))


def figures(quick: bool) -> list[Figure]:
    """Medians over interleaved repeats, after one round that fills the file cache."""
    ours = {
        "selfevo --help": (0.15, lambda: process(str(BIN / "selfevo"), "--help")),
        "selfevo list": (0.4, lambda: process(str(BIN / "selfevo"), "list")),
        "selfevo validate": (1.0, lambda: process(str(BIN / "selfevo"), "validate", QUICKSTART)),
    }
    peers = {
        TRL_HELP: lambda: process(str(BIN / "trl"), "--help"),
        TRL_IMPORT: lambda: process(sys.executable, "-c", "import trl"),
    }
    times = interleaved({**{name: call for name, (_, call) in ours.items()}, **peers}, 2 if quick else 9)
    out = [
        absolute(name, times[name], aim, times[TRL_HELP], TRL_HELP, {TRL_IMPORT: statistics.median(times[TRL_IMPORT])})
        for name, (aim, _) in ours.items()
    ]
    return [*out, run_figure(1 if quick else 5)]


def run_figure(repeats: int) -> Figure:
    """A run's first token, beside the bare imports of the libraries it needs."""
    first: list[float] = []
    calls = {"first": lambda: first.append(first_token()), "bare": lambda: imports("torch", "transformers.models.llama.modeling_llama")}
    bare = interleaved(calls, repeats)["bare"]
    note = "peer: a process that imports torch and one model of transformers and ends"
    return absolute("selfevo run, first sampled token", first[-repeats:], 4.0, bare, "bare imports", {}, note)


def absolute(
    what: str, ours: Sequence[float], aim: float, peer: Sequence[float], beside: str, detail: dict[str, float], note: str = ""
) -> Figure:
    """Seconds against an aim in seconds; the peer's are context."""
    middle = statistics.median(ours)
    return Figure(
        "startup", what, beside, middle, min(ours), max(ours), middle, statistics.median(peer), aim=aim, better="lower",
        repeats=len(ours), note=note or f"whole process, {os.cpu_count()} processors, ratio = seconds", detail=detail,
    )  # fmt: skip
