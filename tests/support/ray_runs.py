"""What the tests of the launcher `ray` share: a cluster of two nodes on this machine, runs on it, and what is left of them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from as_user import TINY, Said, committed, metrics, start

NODES = ("training", "rollouts")
CPUS = 4


@dataclass(frozen=True)
class Pair:
    """A cluster of two nodes; each holds 4 of a resource that is named after it."""

    address: str
    raylets: dict[str, int]

    def node_of(self, pid: int) -> str:
        """The node a worker process belongs to: its parent is the node's raylet."""
        parent = psutil.Process(pid).ppid()
        return next(name for name, raylet in self.raylets.items() if raylet == parent)

    def free(self) -> dict[str, float]:
        """What nobody has reserved."""
        code = (
            "import json, logging, sys, ray; ray.init(sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL);"
            "print(json.dumps(ray.available_resources()))"
        )
        said = subprocess.run([sys.executable, "-c", code, self.address], capture_output=True, text=True, check=True, timeout=120)
        return {name: amount for name, amount in json.loads(said.stdout).items() if name in ("CPU", *NODES)}

    def settings(self, **settings: object) -> list[str]:
        """Overrides that put a run on it: training on one node, everything else on the other."""
        given = {"address": self.address, "wait": 240, **settings}
        places = {"rank_resources.training": 1, "engine_resources.rollouts": 1, "verifier_resources.rollouts": 1}
        return ["launcher=ray", *(f"launcher.{k}={v}" for k, v in given.items()), *(f"+launcher.{k}={v}" for k, v in places.items())]


@contextmanager
def pair() -> Iterator[Pair]:
    """Start the cluster and end it."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    try:
        nodes: dict[str, Any] = {
            name: cluster.add_node(num_cpus=CPUS, resources={name: CPUS}, object_store_memory=200 << 20, include_dashboard=False)
            for name in NODES
        }
        yield Pair(cluster.address, {name: node.all_processes["raylet"][0].process.pid for name, node in nodes.items()})
    finally:
        cluster.shutdown()


def begun(root: Path, *more: str) -> Any:
    """The process of a tiny run in `root`."""
    return start("run", *TINY, *more, f"hydra.run.dir={root}")


def ended(process: Any, timeout: float = 400) -> Said:
    """What it did, once it is over."""
    out, err = process.communicate(timeout=timeout)
    return Said(process.returncode, out, err)


def run(root: Path, *more: str) -> Said:
    """A tiny run in `root`, from beginning to end."""
    return ended(begun(root, *more))


def resume(root: Path, *more: str) -> Said:
    """Go on with it."""
    return ended(start("resume", str(root), *more))


def same_but_for_rounding(one: Path, other: Path, besides: tuple[str, ...] = ()) -> None:
    """Two runs logged the same metrics, except those named in `besides`."""
    import pytest

    found, expected = metrics(one), metrics(other)
    assert [m[:2] for m in found] == [m[:2] for m in expected]
    for (path, stage, ours), (_, _, theirs) in zip(found, expected, strict=True):
        kept = {k: v for k, v in ours.items() if k not in besides}
        assert kept.keys() == theirs.keys(), (path, stage)
        assert kept == pytest.approx(theirs, rel=1e-4, abs=1e-6), (path, stage)


def processes_of(root: Path, what: str) -> list[int]:
    """Ids of the "training ranks" or "engine replicas" of a run, as its log tells them."""
    line = next(line for line in (root / "log.txt").read_text().splitlines() if f"note: {what}: " in line)
    return [int(pid) for pid in re.findall(r"is process (\d+)", line)]


def logged(root: Path, words: str) -> None:
    """Return once a run has written `words` to its log."""
    end = time.monotonic() + 240
    while words not in (root / "log.txt").read_text():
        assert time.monotonic() < end, (words, (root / "log.txt").read_text())
        time.sleep(0.1)


def commits(root: Path, last: str) -> None:
    """Return once the last stage a run has committed is `last`; it is written while the next stage runs."""
    end = time.monotonic() + 240
    while not committed(root) or committed(root)[-1] != last:
        assert time.monotonic() < end, (last, committed(root))
        time.sleep(0.1)


def living(pids: list[int]) -> list[int]:
    """Those of these processes that are still there."""
    return [p for p in pids if psutil.pid_exists(p) and psutil.Process(p).status() != psutil.STATUS_ZOMBIE]


def gone(pids: list[int], seconds: float = 60) -> bool:
    """Whether all of them end."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not living(pids):
            return True
        time.sleep(0.1)
    return False


def below(pid: int) -> list[int]:
    """Ids of all processes that a process has started, and they in turn."""
    return [p.pid for p in psutil.Process(pid).children(recursive=True)]
