"""A stage's table of up to a million trajectories: written, read back and checked on resume, beside pandas and pickle.

Every phase at every size runs in a process of its own (`tables_sides`). Aims: five times less space, time in proportion to the size,
extra memory that does not grow with it. Exponents are slopes of a straight line through the logarithms.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, exponent, merged
from selfevo.tables.parquet import ROWS

THREADS = 1
TOPIC = "tables"
LINEAR, CONSTANT = 1.1, 0.1
"""Largest exponents that count as linear time and as constant memory: room for noise, not for a logarithm's worth of growth."""
PEER = "pandas + pickle"
MIB = 1 << 20

Measured = dict[str, dict[int, dict[str, float]]]
"""{phase: {size: what `tables_sides.measure` gives}}."""


def figures(quick: bool) -> list[Figure]:
    """Every figure of the topic."""
    sizes = (1_000, 3_000, 10_000) if quick else (10_000, 100_000, 1_000_000)
    joined = sizes if quick else (10_000, 30_000, 100_000)
    held = sizes if quick else (10_000, 30_000, 100_000)
    lines = (100, 300, 1_000) if quick else (100, 1_000, 10_000)
    return merged([_pass(sizes, joined, held, lines) for _ in range(1 if quick else 3)])


def _pass(sizes: Sequence[int], joined: Sequence[int], held: Sequence[int], lines: Sequence[int]) -> list[Figure]:
    """Every phase once at each of its sizes."""
    found: Measured = {}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for n in sorted({*sizes, *joined}):
            phases = [*(["write", "scan", "resume"] if n in sizes else ["write"]), *(["score", "join"] if n in joined else [])]
            _run(found, phases, n, root / f"run-{n}")
        for n in held:
            _run(found, ["pickle_write", "pickle_scan"], n, root / f"pickle-{n}")
        for n in lines:
            _run(found, ["commits"], n, root / f"commits-{n}")
    return [_space(found, sizes, held), *_speed(found, held), *_growth(found, sizes, joined, lines), *_memory(found, sizes, joined, held)]


def _run(found: Measured, phases: Sequence[str], n: int, folder: Path) -> None:
    for phase in phases:
        command = [sys.executable, "-m", "benchmarks.tables_sides", phase, str(n), str(folder)]
        done = subprocess.run(command, stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent, check=True, text=True)
        found.setdefault(phase, {})[n] = json.loads(done.stdout)


def _space(found: Measured, sizes: Sequence[int], held: Sequence[int]) -> Figure:
    ours = {n: found["write"][n]["bytes"] / n for n in sizes}
    peer = {n: found["pickle_write"][n]["bytes"] / n for n in held}
    both = sorted(ours.keys() & peer.keys())
    ratios = [peer[n] / ours[n] for n in both]
    return Figure(
        TOPIC, f"space of {sizes[-1]:,} trajectories", PEER, peer[held[-1]] / ours[sizes[-1]], min(ratios), max(ratios),
        ours[sizes[-1]], peer[held[-1]], unit="bytes a row", aim=5.0,
        note=f"pickle measured up to {held[-1]:,} rows; log-probs are drawn apart for every token: 3.6 of a token's bytes are theirs",
        detail={"ours": ours, "peer": peer},
    )  # fmt: skip


def _speed(found: Measured, held: Sequence[int]) -> list[Figure]:
    """Seconds beside the peer's at the largest size that the peer was run at."""
    n = held[-1]
    out = []
    for what, ours, peer in (("write", "write", "pickle_write"), ("read back as records", "scan", "pickle_scan")):
        a, b = found[ours][n]["seconds"], found[peer][n]["seconds"]
        note = "processor seconds; the peer neither hashes nor syncs, and its rows are plain dicts and lists, not records"
        out.append(Figure(TOPIC, f"{what}, {n:,} rows", PEER, b / a, ours=a, peer=b, note=note, detail=_detail(found, ours, peer)))
    return out


def _growth(found: Measured, sizes: Sequence[int], joined: Sequence[int], lines: Sequence[int]) -> list[Figure]:
    """Exponents of time over size."""
    out = []
    for what, phase, at in (
        ("write", "write", sizes), ("scan", "scan", sizes), ("scores joined with their trajectories", "join", joined),
        ("open and check one table (resume)", "resume", sizes), ("open and check a directory of many commits", "commits", lines),
    ):  # fmt: skip
        took = [found[phase][n]["seconds"] for n in at]
        unit = "commits" if phase == "commits" else "rows"
        out.append(
            Figure(
                TOPIC, f"exponent of time: {what}", "linear", exponent(at, took), ours=took[-1], aim=LINEAR, better="lower",
                note=f"{at[0]:,} to {at[-1]:,} {unit}; processor seconds, without those of making the rows; ours: at the largest",
                detail=_detail(found, phase),
            )
        )  # fmt: skip
    return out


def _memory(found: Measured, sizes: Sequence[int], joined: Sequence[int], held: Sequence[int]) -> list[Figure]:
    """Exponents of extra memory over size; without an aim where the smallest table is less than a few batches."""
    per_row = {p: found[p][held[-1]]["extra"] / held[-1] for p in ("pickle_write", "pickle_scan")}
    out = []
    for what, phase, at, peer in (
        ("write", "write", sizes, "pickle_write"), ("scan", "scan", sizes, "pickle_scan"),
        ("scores joined with their trajectories", "join", joined, "pickle_scan"), ("resume", "resume", sizes, "pickle_scan"),
    ):  # fmt: skip
        extra = [max(found[phase][n]["extra"], MIB) for n in at]  # below a MiB is what the system's pages make of it
        note = f"{at[0]:,} to {at[-1]:,} rows; peer in proportion from {held[-1]:,}; ours: at the largest"
        aim = CONSTANT if at[0] >= 2 * ROWS else None  # a table that one batch holds takes what it takes
        out.append(
            Figure(
                TOPIC, f"exponent of extra memory: {what}", "constant", exponent(at, extra), ours=extra[-1] / MIB,
                peer=per_row[peer] * at[-1] / MIB, unit="MiB", aim=aim, better="lower", note=note, detail=_detail(found, phase, peer),
            )
        )  # fmt: skip
    return out


def _detail(found: Measured, *phases: str) -> Mapping[str, Any]:
    return {phase: {str(n): values for n, values in found[phase].items()} for phase in phases}
