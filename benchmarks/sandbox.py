"""Programs per second in the sandbox, beside a fresh subprocess each, with as many at a time and no protection."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from selfevo.sandbox import Sandbox
from selfevo.sandbox.bubblewrap import SYSTEM

from .figures import Figure, faster, interleaved

AIM = 5.0


def programs(count: int) -> list[str]:
    """Short ones, as policies write them: some modules, some arithmetic, a line of output; no two equal."""
    body = "import collections, json, math, re\nn = {}\nprint(json.dumps(collections.Counter(re.findall('.', str(math.factorial(n))))))"
    return [body.format(100 + i) for i in range(count)]


def fresh(codes: Sequence[str], workers: int, before: Sequence[str] = (), flags: Sequence[str] = ()) -> list[str]:
    """What each prints, from a Python of its own."""
    python = os.path.realpath(sys.executable) if before else sys.executable

    def one(code: str) -> str:
        return subprocess.run([*before, python, *flags, "-c", code], capture_output=True, text=True, check=True).stdout

    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(one, codes))


def shut_away() -> list[str]:
    """bubblewrap around each process, for the same protection without warm workers."""
    out = ["bwrap", "--unshare-all", "--die-with-parent", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]
    for place in SYSTEM:
        if os.path.islink(place):
            out += ["--symlink", os.readlink(place), place]
        elif os.path.exists(place):
            out += ["--ro-bind", place, place]
    return [*out, "--ro-bind", sys.base_prefix, sys.base_prefix]


def figures(quick: bool) -> list[Figure]:
    """One table line for each way to start a process."""
    count, repeats, workers = (8, 1, 2) if quick else (60, 5, len(os.sched_getaffinity(0)))
    codes = programs(count)
    box = Sandbox(workers=workers)
    said: dict[str, Any] = {}

    def call(name: str, run: Callable[[], list[str]]) -> Callable[[], None]:
        return lambda: said.update({name: run()})

    bare = ("-I", "-S")
    calls = {
        "ours": call("ours", lambda: [result.stdout for result in box.run(codes)]),
        "python -c": call("python -c", lambda: fresh(codes, workers)),
        "python -I -S -c": call("python -I -S -c", lambda: fresh(codes, workers, flags=bare)),
        "bwrap python -I -S -c": call("bwrap python -I -S -c", lambda: fresh(codes, workers, shut_away(), bare)),
    }
    times = interleaved(calls, repeats)
    assert len({tuple(printed) for printed in said.values()}) == 1, "the sides printed different things"
    per_second = {name: round(count * len(t) / sum(t)) for name, t in times.items()}
    detail = {"per_second": per_second, "programs": count, "workers": workers}
    what = f"{count} programs, {workers} at a time"
    return [
        faster("sandbox", what, peer, [t / count for t in times["ours"]], [t / count for t in times[peer]],
               aim=AIM if peer == "python -c" else None, note=note, detail=detail)
        for peer, note in {
            "python -c": "a fresh subprocess of the Python that runs selfevo, with its site-packages and no protection",
            "python -I -S -c": "without site-packages, which a program for the sandbox does not have either; no protection",
            "bwrap python -I -S -c": "a fresh bubblewrap and Python each: the same protection, but for limits and system calls",
        }.items()
    ]  # fmt: skip
