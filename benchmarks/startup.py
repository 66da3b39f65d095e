"""How long commands take from nothing: whole processes, and a run's first sampled token. One thread."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .figures import Figure, interleaved

THREADS = 1
QUICKSTART = "+experiment=quickstart"
BIN = Path(sys.executable).parent
TRL_HELP, TRL_IMPORT = "trl --help", "import trl"
FIRST, BARE = "selfevo run, first sampled token", "bare imports"


PROCESSOR: dict[str, list[float]] = {}
"""Processor seconds of each command, which other work on the machine disturbs less than wall seconds."""


def process(name: str, *command: str) -> None:
    """Run a command to its end, noting its processor seconds under `name`. Raises CalledProcessError when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # an installed package is compiled
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    PROCESSOR.setdefault(name, []).append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def processor(name: str) -> float:
    """Median processor seconds of a command, warm-up left out."""
    return round(statistics.median(PROCESSOR[name][1:]), 3)


def first_token() -> float:
    """Seconds from before the process exists to the first token that its engine has drawn."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "first"
        began = time.monotonic()
        process(FIRST, sys.executable, "-m", "benchmarks.first_token", str(out), "run", QUICKSTART, f"hydra.run.dir={folder}/run")
        return float(out.read_text()) - began


def imports(*modules: str) -> None:
    """A process that does nothing but import, no garbage collected meanwhile: what a start cannot go below."""
    process(BARE, sys.executable, "-c", ";".join(["import gc", "gc.disable()", *(f"import {module}" for module in modules)]))


def figures(quick: bool) -> list[Figure]:
    """Medians over interleaved repeats, after one round that fills the file cache."""
    command = str(BIN / "selfevo")
    aims = {"selfevo --help": (0.15, ["--help"]), "selfevo list": (0.4, ["list"]), "selfevo validate": (1.0, ["validate", QUICKSTART])}
    calls = {name: partial(process, name, command, *arguments) for name, (_, arguments) in aims.items()}
    calls[TRL_HELP] = partial(process, TRL_HELP, str(BIN / "trl"), "--help")
    calls[TRL_IMPORT] = partial(process, TRL_IMPORT, sys.executable, "-c", "import trl")
    times = interleaved(calls, 2 if quick else 9)
    out = []
    for name, (aim, _) in aims.items():
        detail = {"processor_s": {which: processor(which) for which in (name, TRL_HELP, TRL_IMPORT)}}
        detail["wall_s"] = {TRL_IMPORT: round(statistics.median(times[TRL_IMPORT]), 3)}
        out.append(absolute(name, times[name], aim, times[TRL_HELP], TRL_HELP, detail))
    return [*out, run_figure(1 if quick else 5)]


def run_figure(repeats: int) -> Figure:
    """A run's first token, beside the bare import of torch."""
    first: list[float] = []
    calls = {"first": lambda: first.append(first_token()), "bare": lambda: imports("torch")}
    bare = interleaved(calls, repeats)["bare"]
    detail = {"processor_s": {name: processor(name) for name in (FIRST, BARE)}}
    note = "peer: a process that imports torch and ends"
    return absolute(FIRST, first[-repeats:], 4.0, bare, BARE, detail, note)


def absolute(
    what: str, ours: Sequence[float], aim: float, peer: Sequence[float], beside: str, detail: dict[str, Any], note: str = ""
) -> Figure:
    """Seconds against an aim in seconds; the peer's are context."""
    middle = statistics.median(ours)
    return Figure(
        "startup", what, beside, middle, min(ours), max(ours), middle, statistics.median(peer), aim=aim, better="lower",
        repeats=len(ours), note=note or f"whole process, {os.cpu_count()} processors, ratio = seconds", detail=detail,
    )  # fmt: skip
