"""What a run spends on anything but generating, scoring and training, as the run itself reports it at its end."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.figures import Figure

THREADS = 1
TOPIC = "overhead"
WORK = ("generate", "score", "train")


def spent(overrides: list[str]) -> dict[str, float]:
    """Seconds by kind of one run in a process of its own: the last line of its manifest."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "run"
        command = [sys.executable, "-m", "selfevo", "run", *overrides, f"hydra.run.dir={root}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.stdout.strip()}")
        return json.loads((root / "manifest.jsonl").read_text().splitlines()[-1])["seconds"]


def share(what: str, runs: list[dict[str, float]], without_start: bool) -> Figure:
    """Everything but the work, over the total; with or without importing and loading."""
    found = []
    for s in runs:
        total = s["total"] - (s["start"] if without_start else 0)
        found.append((total - sum(s.get(kind, 0) for kind in WORK)) / total)
    name = f"{what}, after start" if without_start else what
    return Figure(
        TOPIC, name, "the run's own total", statistics.median(found), min(found), max(found), unit="",
        aim=0.03, better="lower", repeats=len(found), detail={"seconds": runs},
        note="" if without_start else "start: importing torch and transformers, loading the policy",
    )  # fmt: skip


def figures(quick: bool) -> list[Figure]:
    """The quickstart, whole."""
    overrides = ["+experiment=quickstart", *(["+scale=tiny"] if quick else [])]
    runs = [spent([*overrides, f"seed={seed}"]) for seed in range(1 if quick else 3)]
    return [share("quickstart", runs, False), share("quickstart", runs, True)]
