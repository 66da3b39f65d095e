"""A run that stops after any stage and is resumed ends as if it had never stopped."""

import json
import shutil

import pytest
from scripted_specs import coevolution, engine, probe, trainer

from selfevo.run import Observer, execute


class Cut(Exception):
    """Stands for a kill: nothing of the run gets to clean up after it."""


class CutAfter(Observer):
    """Ends the process's work right after the n-th committed line."""

    def __init__(self, n):
        self.left = n

    def line(self, line):
        self.left -= 1
        if self.left == 0:
            raise Cut


def state_of(run):
    """Everything that must be equal: metrics without times, lineages, tables and texts by hash."""
    lines = [json.loads(line) for line in (run.store.root / "metrics.jsonl").read_text().splitlines()]
    metrics = [(m["path"], m["stage"], m["versions"], {k: v for k, v in m["metrics"].items() if not k.startswith("time/")}) for m in lines]
    outputs = {k: v for e in run.store.manifest for k, v in e.get("outputs", {}).items() if not k.startswith("state/")}
    return metrics, run.world.lineages, outputs, {n: s.state_dict() for n, s in run.world.sources.items() if hasattr(s, "state_dict")}


FORK = {
    "engine": engine(**{"Q ": "#### 2"}),
    "stages": {
        "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 1},
        "train": {"kind": "train", "policy": "solver", "from": "rollout", "optimizer": trainer()},
        "keep": {"kind": "train", "policy": "solver", "from": "rollout", "optimizer": trainer()},
    },
    "loop": {"main": {"repeat": 3, "do": {"try": {"fork": "solver", "do": ["rollout", "train"]}, "keep": None}}},
}
BODIES = {
    "coevolution": lambda: {**coevolution(), "checkpoint": {"every": 3}},
    "probe": lambda: probe(improve="carry the one", **{"carry the one: 2+2": "#### 4", "guess: 2+2": "#### 5", ": 1+1": "#### 2"}),
    "fork": lambda: FORK,
}


@pytest.mark.parametrize("name", BODIES)
def test_a_run_cut_after_any_stage_ends_equal_to_one_that_never_was(name, checked, tmp_path):
    spec = checked(BODIES[name]())
    whole = execute(spec, tmp_path / "whole")
    expected = state_of(whole)
    for n in range(1, len(expected[0]) + 1, 1 if name != "coevolution" else 5):
        root = tmp_path / f"cut{n}"
        with pytest.raises(Cut):
            execute(spec, root, observers=[CutAfter(n)])
        resumed = execute(spec, root, resume=True)
        assert state_of(resumed) == expected, f"cut after line {n}"
        shutil.rmtree(root)


def test_resuming_a_finished_run_changes_nothing(checked, tmp_path):
    spec = checked(BODIES["probe"]())
    first = execute(spec, tmp_path / "run")
    before = (tmp_path / "run" / "manifest.jsonl").read_bytes()
    again = execute(spec, tmp_path / "run", resume=True)
    assert state_of(again) == state_of(first)
    assert (tmp_path / "run" / "manifest.jsonl").read_bytes() == before
