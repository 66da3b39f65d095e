"""What a run spends on anything but generating, scoring and training, as the run itself reports it at its end."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.figures import Figure

THREADS = 1
TOPIC = "overhead"
WORK = ("generate", "score", "train")


def spent(overrides: list[str]) -> dict[str, float]:
    """Seconds by kind of one run in a process of its own: the last line of its manifest, and `wall`, of the process."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        command = [sys.executable, "-m", "selfevo", "run", *overrides, f"hydra.run.dir={root}"]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True)
        wall = time.perf_counter() - began
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return {**json.loads((root / "manifest.jsonl").read_text().splitlines()[-1])["seconds"], "wall": wall}


def share(name: str, beside: str, runs: list[dict[str, float]], totals: list[float], aim: float | None = 0.03, note: str = "") -> Figure:
    """Everything but the work, over a total of each run."""
    found = [(total - sum(s.get(kind, 0) for kind in WORK)) / total for s, total in zip(runs, totals, strict=True)]
    return Figure(
        TOPIC, name, beside, statistics.median(found), min(found), max(found), unit="",
        aim=aim, better="lower", repeats=len(found), detail={"seconds": runs}, note=note,
    )  # fmt: skip


def figures(quick: bool) -> list[Figure]:
    """The quickstart, whole."""
    overrides = ["+experiment=quickstart", *(["+scale=tiny"] if quick else [])]
    runs = [spent([*overrides, f"seed={seed}"]) for seed in range(1 if quick else 3)]
    own, start = "the run's own total", "start: importing torch, loading the policy"
    around = "also checking the spec before, and writing the report after"
    return [
        share("quickstart", own, runs, [s["total"] for s in runs], note=start),
        share("quickstart, after start", own, runs, [s["total"] - s["start"] for s in runs]),
        share("quickstart, as the user waits", "the whole process", runs, [s["wall"] for s in runs], None, around),
    ]
