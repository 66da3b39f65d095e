"""`python -m benchmarks [TOPIC ...]`: each topic in a process of its own with its own thread count; one table, one JSON file."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from benchmarks.page import goal, number, ratio, spread, value

TOPICS = ("startup", "grpo", "generation", "training", "parts", "overhead", "verdicts", "sandbox", "tables", "curriculum", "growth", "gpu")
HERE = Path(__file__).parent


def measure(topic: str, quick: bool) -> list[dict[str, Any]]:
    """The figures of one topic, measured in a fresh process."""
    threads = str(getattr(importlib.import_module(f"benchmarks.{topic}"), "THREADS", 1))
    env = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        command = [sys.executable, "-m", "benchmarks.one", topic, str(out), *(["--quick"] if quick else [])]
        code = subprocess.call(command, env=env, cwd=HERE.parent)
        if code:
            raise SystemExit(f"benchmarks: topic '{topic}' ended with status {code}")
        return json.loads(out.read_text())


def show(figures: list[dict[str, Any]]) -> None:
    """The table on the terminal, a line or two a figure at 80 columns."""
    table = Table("what", "beside", "ratio", "aim", box=SIMPLE)
    for f in figures:
        mark = {True: " [green]met[/]", False: " [red]not met[/]", None: ""}[f["met"]]
        measured = f"{number(f['ratio'])} ({spread(f)})" if f["ratio"] is not None else ratio(f) or value(f["ours"], f["unit"])
        table.add_row(f"{f['topic']}: {f['what']}", f["beside"], measured, goal(f) + mark)
    Console().print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}; default: all")
    parser.add_argument("--page", action="store_true", help="measure nothing: write docs/performance.md from the figures there are")
    parser.add_argument("--quick", action="store_true", help="small sizes and few repeats: shows that it runs, not how fast")
    parser.add_argument("--json", type=Path, default=HERE / "results.json", help="where the figures go (topics not run stay as they are)")
    arguments = parser.parse_args()
    for topic in arguments.topics:
        if topic not in TOPICS:
            parser.error(f"no topic '{topic}' (valid: {', '.join(TOPICS)})")
    if arguments.page:
        from benchmarks.page import write

        return write(arguments.json)
    chosen = arguments.topics or TOPICS
    from selfevo.environment import describe

    known = json.loads(arguments.json.read_text())["figures"] if arguments.json.exists() else {}
    for topic in chosen:
        print(f"# {topic}", flush=True)
        known[topic] = measure(topic, arguments.quick)
        show(known[topic])
        ordered = {t: known[t] for t in TOPICS if t in known}
        environment = {k: v for k, v in describe().items() if k != "command"}
        body = {"environment": environment, "quick": arguments.quick, "figures": ordered}
        arguments.json.write_text(json.dumps(body, indent=1) + "\n")
    if len(chosen) > 1:
        show([f for t in chosen for f in known[t]])


if __name__ == "__main__":
    main()
