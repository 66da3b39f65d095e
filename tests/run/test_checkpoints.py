"""Checkpoints of several policies do not stand in each other's way."""

import pytest
from scripted_specs import EXACT, POLICY, engine, trainer

from selfevo.checkpoints import CHECKPOINT
from selfevo.observer import Observer
from selfevo.running import execute


class Cut(Exception):
    """Stands for a kill."""


class CutAt(Observer):
    """Ends the process's work right after the line of one stage."""

    def __init__(self, path, stage):
        self.at = (path, stage)

    def line(self, line):
        if (line["path"], line["stage"]) == self.at:
            raise Cut


def two_policies(iterations):
    """Two policies trained in turn by stages of their names, with a checkpoint after every version."""
    score = {"kind": "score", "of": "rollout", "verifier": EXACT}
    train = {name: {"kind": "train", "policy": name, "from": "score", "optimizer": trainer()} for name in ("first", "second")}
    return {
        "policies": {"first": POLICY, "second": POLICY},
        "roles": {"first": {"policy": "first", "prompt": "solve"}},
        "engine": engine(**{"Q ": "#### 2"}),
        "checkpoint": {"every": 1},
        "stages": {"rollout": {"kind": "rollout", "role": "first", "tasks": "curriculum", "n": 1}, "score": score, **train},
        "loop": {"main": {"repeat": iterations, "do": ["rollout", "score", "first", "second"]}},
    }


@pytest.mark.parametrize("stage", ["first", "second"])
def test_a_run_of_two_policies_resumes_from_the_newest_checkpoint_past_the_tenth_iteration(stage, checked, tmp_path):
    spec = checked(two_policies(12))
    whole = execute(spec, tmp_path / "whole")
    with pytest.raises(Cut):
        execute(spec, tmp_path / "cut", observers=[CutAt("main.11", stage)])
    resumed = execute(spec, tmp_path / "cut", resume=True)
    assert {n: p.version for n, p in resumed.world.policies.items()} == {n: p.version for n, p in whole.world.policies.items()}
    points = [e for e in whole.store.manifest if e["stage"] == CHECKPOINT]
    files = [f for e in points for f in e["outputs"] if f.startswith("state/")]
    assert len(files) == len(set(files))  # no checkpoint overwrites what the one before it vouches for
    left = {str(p.relative_to(whole.store.root)) for p in whole.store.root.glob("state/**/*.optimizer.pt")}
    assert left == {f for f in points[-1]["outputs"] if f.startswith("state/")}
