"""Ctrl-C, SIGTERM and readers that go away: the run stops at a commit, says how to go on, and ends as if nothing had happened."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import BARE, ENVIRONMENT, TINY, Held, Said, committed, metrics, weights

from selfevo.context import StageCtx
from selfevo.stages import Outcome, Rollout, Train

pytestmark = pytest.mark.slow

Say = Callable[..., Said]
KINDS = {"rollout": Rollout, "train": Train}


def press(monkeypatch: pytest.MonkeyPatch, stage: str, number: int, times: int = 1) -> None:
    """Have this process sent a signal as `stage` ("main.0/rollout") begins."""
    kind = KINDS[stage.rpartition("/")[2]]
    run = kind.run

    def pressed(self: object, ctx: StageCtx) -> Outcome:
        if ctx.where == stage:
            for _ in range(times):
                os.kill(os.getpid(), number)
        return run(self, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "run", pressed)


@pytest.mark.parametrize("stage, then, number", [
    ("main.0/rollout", "main.0/score", signal.SIGINT),
    ("main.0/train", "main.0/evaluate", signal.SIGINT),
    ("main.1/train", "main.1/evaluate", signal.SIGTERM),
])
def test_a_stopped_run_goes_on_to_the_weights_of_one_that_never_was(
    say: Say, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, then: str, number: int
) -> None:
    root = tmp_path / "run"
    with monkeypatch.context() as during:
        press(during, stage, number)
        said = say("run", *TINY, f"hydra.run.dir={root}")
    assert (said.status, said.line) == (3, f"stopped before {then}; continue with: selfevo resume {root}")
    assert "note: stopping after this stage; press Ctrl-C again to stop at once" in said.out.splitlines()
    assert committed(root)[-1] == stage
    if stage.endswith("train"):  # the new weights are on disk, whatever checkpoint.every says
        assert (root / "policies" / "solver" / f"00000{int(stage[5]) + 1}").is_dir()
    assert say("resume", str(root)).status == 0
    assert weights(root) == weights(whole)
    assert metrics(root) == metrics(whole)


def test_a_second_ctrl_c_stops_at_once_and_loses_only_the_stage_it_fell_into(
    say: Say, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    with monkeypatch.context() as during:
        press(during, "main.0/train", signal.SIGINT, times=2)
        said = say("run", *TINY, f"hydra.run.dir={root}")
    assert (said.status, said.line) == (3, f"stopped at the last commit; continue with: selfevo resume {root}")
    assert committed(root)[-1] == "main.0/score"
    assert say("resume", str(root)).status == 0
    assert weights(root) == weights(whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_a_process_lets_its_stage_finish(say: Say, held: Held, number: int) -> None:
    held.process.send_signal(number)
    assert held.process.stdout is not None
    for line in held.process.stdout:
        if line.startswith("note: stopping after this stage"):
            break
    held.release()
    said = held.ended()
    assert (said.status, said.line) == (3, f"stopped before main.0/evaluate; continue with: selfevo resume {held.root}")
    assert committed(held.root)[-1] == "main.0/score"
    assert say("resume", str(held.root)).status == 0


def test_a_second_signal_to_a_process_does_not_wait_for_its_stage(held: Held) -> None:
    held.process.send_signal(signal.SIGINT)
    assert held.process.stdout is not None
    for line in held.process.stdout:
        if line.startswith("note: stopping after this stage"):
            break
    held.process.send_signal(signal.SIGINT)
    said = held.ended()  # the stage is never released
    assert (said.status, said.line) == (3, f"stopped at the last commit; continue with: selfevo resume {held.root}")
    assert committed(held.root)[-1] == "main.0/rollout"


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_a_reader_that_goes_away_stops_the_run_in_one_line(say: Say, tmp_path: Path) -> None:
    words = " ".join(f'"{word}"' for word in [*BARE, f"hydra.run.dir={tmp_path / 'run'}"])
    command = f"'{sys.executable}' -m selfevo run {words} | head -1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, timeout=60)
    said = Said(done.returncode, done.stdout, done.stderr)
    assert (said.status, said.out) == (3, f"running run in {tmp_path / 'run'}\n")
    assert said.line.startswith("stopped at the last commit, since nothing reads the output any more; continue with: selfevo resume")
    assert say("resume", str(tmp_path / "run")).status == 0
