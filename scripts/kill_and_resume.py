"""Kill a short training run at random moments, resume it, and compare with a run that was never killed.

    python scripts/kill_and_resume.py --moments 20

Every killed run must end with byte-identical policy files and equal metrics (all but times). Exit status 1 when one does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SHORT = ["experiment=quickstart", "scale=tiny", "scale.iterations=4", "checkpoint.every=2"]


def start(root: Path, overrides: Sequence[str]) -> subprocess.Popen[bytes]:
    """A new run in `root`."""
    return _selfevo("run", *overrides, f"hydra.run.dir={root}")


def finish(root: Path, overrides: Sequence[str]) -> None:
    """Resume the run in `root` (or start it, if the kill came before it had a manifest) until it is done."""
    if not (root / "manifest.jsonl").exists() or not (root / "manifest.jsonl").read_bytes().endswith(b"\n"):
        shutil.rmtree(root, ignore_errors=True)
        process = start(root, overrides)
    else:
        process = _selfevo("resume", str(root))
    out, _ = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(f"resuming {root} ended with status {process.returncode}: {out.decode()[-2000:]}")


def kill_after(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """SIGKILL after so many seconds; whether it was still running."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return True
    return False


def fingerprint(root: Path) -> dict[str, object]:
    """What must be equal: {policy file: sha256}, and the metrics lines without times."""
    files = sorted(p for p in (root / "policies").rglob("*") if p.is_file())
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    metrics = [
        (m["path"], m["stage"], m["versions"], sorted((k, v) for k, v in m["metrics"].items() if not k.startswith("time/"))) for m in lines
    ]
    return {"policies": {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}, "metrics": metrics}


def difference(a: dict[str, object], b: dict[str, object]) -> str:
    """The first thing that differs, or ""."""
    if a["policies"] != b["policies"]:
        return f"policy files differ: {a['policies']} against {b['policies']}"
    for x, y in zip(a["metrics"], b["metrics"], strict=False):  # type: ignore[call-overload]
        if x != y:
            return f"metrics differ: {x} against {y}"
    return "" if len(a["metrics"]) == len(b["metrics"]) else "one has more metrics lines"  # type: ignore[arg-type]


def trial(folder: Path, name: str, seconds: float, overrides: Sequence[str], again: float | None = None) -> tuple[bool, dict[str, object]]:
    """One run killed after `seconds` (and its resumption after `again`), then finished."""
    root = folder / name
    killed = kill_after(start(root, overrides), seconds)
    if again is not None and (root / "manifest.jsonl").exists():
        kill_after(_selfevo("resume", str(root)), again)
    finish(root, overrides)
    return killed, fingerprint(root)


def _selfevo(*arguments: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    return subprocess.Popen(
        [sys.executable, "-m", "selfevo", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=environment
    )


def main() -> int:
    """Run the whole comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20, help="how many kills")
    parser.add_argument("--seed", type=int, default=0, help="chooses the moments")
    options, rest = parser.parse_known_args()
    overrides = rest or SHORT
    rng = random.Random(options.seed)
    bad = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        began = time.monotonic()
        finish(folder / "whole", overrides)
        length = time.monotonic() - began
        expected = fingerprint(folder / "whole")
        print(f"never killed: {length:.1f} s, {len(expected['policies'])} policy files, {len(expected['metrics'])} metrics lines")  # type: ignore[arg-type]
        for i in range(options.moments):
            moment = rng.uniform(0.0, length)
            killed, got = trial(folder, f"killed{i}", moment, overrides)
            problem = difference(expected, got)
            bad += bool(problem)
            print(
                f"{i + 1:2d}: killed after {moment:5.1f} s{'' if killed else ' (had already ended)'}: {problem or 'identical'}", flush=True
            )
            shutil.rmtree(folder / f"killed{i}")
    print(f"{options.moments - bad} of {options.moments} identical")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
