"""Runs that are cut off at a committed line, and what must be equal once they were resumed."""

from __future__ import annotations

import json
from typing import Any

from selfevo.observer import Observer
from selfevo.running import Run


class Cut(Exception):
    """Stands for a kill: nothing of the run gets to clean up after it."""


class CutAfter(Observer):
    """Ends the process's work right after the n-th committed line."""

    def __init__(self, n: int):
        self.left = n

    def line(self, line: Any) -> None:
        """Count it."""
        self.left -= 1
        if self.left == 0:
            raise Cut


def state_of(run: Run) -> tuple[Any, ...]:
    """Everything that must be equal: metrics without times, lineages, tables, weights and texts by hash, curricula."""
    lines = [json.loads(line) for line in (run.store.root / "metrics.jsonl").read_text().splitlines()]
    metrics = [(m["path"], m["stage"], m["versions"], {k: v for k, v in m["metrics"].items() if not k.startswith("time/")}) for m in lines]
    outputs = {k: v for e in run.store.manifest for k, v in e.get("outputs", {}).items() if not k.startswith("state/")}
    return metrics, run.world.lineages, outputs, {n: s.state_dict() for n, s in run.world.sources.items() if hasattr(s, "state_dict")}
