"""A run that stops after any stage and is resumed ends as if it had never stopped."""

import shutil

import pytest
from cutting import Cut, CutAfter, state_of
from scripted_specs import coevolution, engine, probe, trainer

from selfevo.running import execute

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


@pytest.mark.parametrize("name", [pytest.param("coevolution", marks=pytest.mark.slow), "probe", "fork"])
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
