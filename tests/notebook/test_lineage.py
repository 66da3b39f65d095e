"""Versions and aliases read from the manifest are those the live run had at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripted_specs import EXACT, coevolution, engine, probe, trainer

from selfevo import load_run
from selfevo.errors import StoreError, UserError


def forked(adopt: bool) -> dict[str, Any]:
    """A block that trains a private copy, then a stage that trains the policy itself."""
    return {
        "engine": engine(**{"2+2": "#### 4", "1+1": "#### 2"}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2},
            "score": {"kind": "score", "of": "rollout", "verifier": EXACT},
            "trial": {"kind": "train", "policy": "solver", "from": "score", "optimizer": trainer()},
        },
        "loop": {"main": {"repeat": 2, "do": {"rollout": None, "score": None, "try": {"fork": "solver", "adopt": adopt, "do": ["trial"]}}}},
    }


PROBE = {"carry the one: 2+2": "#### 4", "guess: 2+2": "#### 5", ": 1+1": "#### 2"}


@pytest.mark.parametrize("body", [
    coevolution(), probe(improve="carry the one", **PROBE), forked(adopt=False),
], ids=["policies", "memory", "fork"])  # fmt: skip
def test_the_manifest_tells_what_the_run_knew(run_of: Any, tmp_path: Path, body: dict[str, Any]) -> None:
    live = run_of(body).world.lineages
    read = load_run(tmp_path / "run").lineages
    assert {n: {i: (v.parents, v.kind, v.made_by) for i, v in vs.items()} for n, vs in read.versions.items()} == {
        n: {i: (v.parents, v.kind, v.made_by) for i, v in vs.items()} for n, vs in live.versions.items()
    }
    assert read.aliases == live.aliases


def test_a_memory_is_read_at_every_version(run_of: Any, tmp_path: Path) -> None:
    run_of(probe(improve="carry the one", **PROBE))
    run = load_run(tmp_path / "run")
    assert run.memory() == run.memory("skills", 1) == {"hint.md": "carry the one\n"}
    assert run.memory(version="base") == {"hint.md": "guess"}
    frame = run.versions[run.versions["name"] == "skills"].set_index("version")
    assert frame.loc["000001", "parents"] == ["000000"] and "current" in frame.loc["000001", "aliases"] and frame["kept"].all()
    assert frame.loc["000000", "aliases"] == ["base", "start"] and frame.loc["000001", "made_by"] == "main.0/propose"


def test_a_version_that_is_gone_or_altered_is_refused(run_of: Any, tmp_path: Path) -> None:
    run_of(probe(improve="carry the one", **PROBE))
    file = tmp_path / "run/memories/skills/000001/hint.md"
    file.write_text("something else")
    with pytest.raises(StoreError, match=r"hint.md: corrupt; the manifest recorded sha256"):
        load_run(tmp_path / "run").memory()
    file.unlink()
    with pytest.raises(UserError, match="skills@000001: its files are not on disk; kept: 000000"):
        load_run(tmp_path / "run").memory()
    with pytest.raises(UserError, match="skills@best: no such version"):
        load_run(tmp_path / "run").memory(version="best")


def test_one_of_several_policies_must_be_named(run_of: Any, tmp_path: Path) -> None:
    run_of(coevolution())
    with pytest.raises(UserError, match=r"has 2 policies \(valid: proposer, solver\); name one of them"):
        load_run(tmp_path / "run").policy()
    with pytest.raises(UserError, match="has no policy 'solvr'; did you mean 'solver'"):
        load_run(tmp_path / "run").policy("solvr")
