"""A sweep under Hydra's own launcher: failures are named, Ctrl-C ends it, and the same command goes on with it."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import Said, committed, metrics

from selfevo.stages import Rollout

Say = Callable[..., Said]
Finished = Callable[[Path], set[str]]


@pytest.mark.slow
def test_a_failed_run_does_not_stop_the_sweep_and_is_named_at_its_end(
    say: Say, quick: list[str], tmp_path: Path, finished: Finished
) -> None:
    said = say("run", "-m", *quick, "roles.solver.top_p=1.0,7.0,0.5", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2
    assert said.err.splitlines() == [
        "selfevo: roles.solver: top_p must be in (0, 1], not 7.0",
        "selfevo: run 1 (roles.solver.top_p=7.0) failed: roles.solver: top_p must be in (0, 1], not 7.0",
        f"selfevo: 2 of 3 runs of the sweep are done; the same command with hydra.sweep.dir={tmp_path} keeps them, "
        "goes on with those that stopped and tries the others again",
    ]
    assert finished(tmp_path) == {"0", "2"}


@pytest.mark.slow
def test_a_failure_that_is_no_mistake_of_the_user_is_exit_status_1(
    say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    run = Rollout.run

    def broken(self: Rollout, ctx: object) -> object:
        if ctx.world.seed == 1:  # type: ignore[attr-defined]
            raise RuntimeError("a wire came loose")
        return run(self, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(Rollout, "run", broken)
    said = say("run", "-m", *quick, "seed=0,1", "roles.solver.top_p=1.0,7.0", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 1
    assert "selfevo: run 2 (seed=1 roles.solver.top_p=1.0) failed: RuntimeError: a wire came loose (traceback in " in said.err
    assert "selfevo: run 3 (seed=1 roles.solver.top_p=7.0) failed: roles.solver: top_p must be in (0, 1], not 7.0\n" in said.err
    assert finished(tmp_path) == {"0"}


@pytest.mark.slow
def test_the_same_command_keeps_what_is_finished_and_goes_on_with_the_rest(
    say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finished: Finished
) -> None:
    command = ["run", "-m", *quick, "seed=0,1,2", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    whole = tmp_path / "whole"
    assert say(*command[:-1], f"hydra.sweep.dir={whole}").status == 0
    with monkeypatch.context() as during:
        run = Rollout.run

        def pressed(self: Rollout, ctx: object) -> object:
            if ctx.world.seed == 1:  # type: ignore[attr-defined]
                os.kill(os.getpid(), signal.SIGINT)
            return run(self, ctx)  # type: ignore[arg-type]

        during.setattr(Rollout, "run", pressed)
        said = say(*command)
    second = tmp_path / "sweep" / "1"
    assert said.status == 3
    stop = f"stopped before main.0/score; continue with: selfevo resume {second}"
    assert said.err.splitlines()[:2] == [f"selfevo: {stop}", f"selfevo: run 1 (seed=1) {stop}"]
    assert said.err.splitlines()[2].startswith("selfevo: 1 of 2 runs of the sweep are done; the same command with hydra.sweep.dir=")
    assert committed(second)[-1] == "main.0/rollout"
    assert not (tmp_path / "sweep" / "2").exists()
    before = (tmp_path / "sweep" / "0" / "manifest.jsonl").stat().st_mtime_ns
    again = say(*command)
    assert (again.status, again.err) == (0, "")
    assert (tmp_path / "sweep" / "0" / "manifest.jsonl").stat().st_mtime_ns == before
    assert finished(tmp_path / "sweep") == {"0", "1", "2"}
    for name in ("0", "1", "2"):
        assert metrics(tmp_path / "sweep" / name) == metrics(whole / name)


@pytest.mark.slow
def test_a_folder_of_other_runs_is_not_taken_for_this_sweep(say: Say, quick: list[str], tmp_path: Path) -> None:
    assert say("run", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={tmp_path}").status == 0
    before = metrics(tmp_path / "1")
    said = say("run", "-m", *quick, "seed=0,5", f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2
    line = f"{tmp_path / '1'}: holds a run with other settings than this job of the sweep; choose another folder with hydra.sweep.dir=DIR"
    assert f"selfevo: run 1 (seed=5) failed: {line}\n" in said.err
    assert metrics(tmp_path / "1") == before


@pytest.mark.slow
def test_a_run_killed_in_its_loop_is_resumed_by_the_same_sweep(say: Say, quick: list[str], tmp_path: Path, finished: Finished) -> None:
    command = ["run", "-m", *quick, "seed=0,1", f"hydra.sweep.dir={tmp_path}"]
    assert say(*command).status == 0
    whole = metrics(tmp_path / "0")
    manifest = tmp_path / "0" / "manifest.jsonl"
    lines = manifest.read_text().splitlines(keepends=True)
    manifest.write_text("".join(lines[:-2]))  # what a kill before the last stage's commit leaves
    assert say(*command).status == 0
    assert finished(tmp_path) == {"0", "1"}
    assert metrics(tmp_path / "0") == whole


@pytest.mark.slow
def test_every_job_leaves_what_was_asked_of_it_and_what_became_of_it(say: Say, quick: list[str], tmp_path: Path) -> None:
    metric = "eval/chain_sum/pass@1"
    assert say("run", "-m", *quick, "seed=0,1", f"metric={metric}", f"hydra.sweep.dir={tmp_path}").status == 0
    for number in (0, 1):
        told = json.loads((tmp_path / "jobs" / f"{number}.json").read_text())
        assert (told["state"], told["root"]) == ("done", str(tmp_path / str(number)))
        assert f"seed={number}" in told["overrides"]
        assert told["value"] == metrics(tmp_path / str(number))[-1][2][metric]


@pytest.mark.slow
def test_a_launcher_or_sweeper_whose_package_is_missing_says_what_to_install(
    say: Say, quick: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    for choice, package in (("launcher=joblib", "joblib"), ("launcher=ray", "ray"), ("launcher=submitit_local", "submitit"),
                            ("sweeper=optuna", "optuna")):  # fmt: skip
        monkeypatch.setitem(sys.modules, package, None)
        said = say("run", "-m", *quick, "seed=0,1", f"hydra/{choice}", f"hydra.sweep.dir={tmp_path}")
        assert said.status == 2
        assert said.line.startswith(f"hydra/{choice} needs {package}, which cannot be imported")
        assert said.line.endswith("install it with: pip install 'selfevo[sweep]'")


@pytest.mark.parametrize("setting, line", [
    ("hydra.launcher.n_job=2", "hydra.launcher.n_job: unknown key"),
    ("hydra/launcher=joblb", "hydra/launcher: no choice 'joblb'; did you mean 'joblib'? (valid: basic, joblib, ray, submitit_local, "),
])
def test_a_misspelt_setting_of_a_launcher_is_one_line(say: Say, quick: list[str], setting: str, line: str) -> None:
    said = say("run", "-m", *quick, "seed=0,1", "hydra/launcher=joblib", setting)
    assert said.status == 2
    assert said.line.startswith(line)
