"""A job in a process of its own: what ends it is told whatever it was, and it never outlives whoever waits for it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from as_user import HERE, committed, waiting

from selfevo import spec
from selfevo.sweeps.jobs import Jobs, Outcome
from selfevo.sweeps.worker import Worker

pytestmark = pytest.mark.slow


@pytest.fixture
def job(tmp_path: Path, quick: list[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Worker, Jobs]]:
    """A job that is put down and waits for its worker."""
    monkeypatch.syspath_prepend(str(HERE))

    def put_down(*overrides: str) -> tuple[Worker, Jobs]:
        jobs = Jobs(tmp_path / "sweep")
        jobs.write(Outcome(0, overrides, str(tmp_path / "sweep" / "0"), "waiting"))
        jobs.file(0, "yaml").write_text(spec.dump(spec.read([*quick, *overrides])))
        return Worker(str(tmp_path / "sweep"), 0, str(tmp_path), {"PYTHONPATH": str(HERE)}), jobs

    return put_down


class Begun:
    """A worker called in a thread, whose run waits in its score stage."""

    def __init__(self, worker: Worker, gate: Path):
        self.outcome: Outcome | None = None
        self.worker, self.gate = worker, gate
        self.thread = threading.Thread(target=self._call)
        self.thread.start()
        end = time.monotonic() + 60
        while not gate.with_suffix(".here").exists():
            assert self.thread.is_alive() and time.monotonic() < end, "the run never came to its score stage"
            time.sleep(0.02)

    def _call(self) -> None:
        self.outcome = self.worker()

    @property
    def pid(self) -> int:
        assert self.worker._process is not None
        return self.worker._process.pid

    def ended(self) -> Outcome:
        self.thread.join(60)
        assert self.outcome is not None
        return self.outcome


@pytest.fixture
def begun(job: Callable[..., tuple[Worker, Jobs]], tmp_path: Path) -> Callable[[], tuple[Begun, Jobs]]:
    made: list[Begun] = []

    def begin() -> tuple[Begun, Jobs]:
        gate = tmp_path / "gate"
        worker, jobs = job(waiting(gate))
        made.append(Begun(worker, gate))
        return made[0], jobs

    yield begin
    for each in made:
        each.gate.touch()
        each.thread.join(60)


def test_a_job_runs_elsewhere_and_says_that_it_is_done(job: Callable[..., tuple[Worker, Jobs]], tmp_path: Path) -> None:
    worker, jobs = job("metric=eval/chain_sum/pass@1")
    outcome = worker()
    assert (outcome.state, outcome.exit_code) == ("done", 0)
    assert isinstance(outcome.value, float)
    assert jobs.get(0) == outcome
    assert "done after" in jobs.file(0, "txt").read_text()


def test_a_job_that_fails_says_why(job: Callable[..., tuple[Worker, Jobs]]) -> None:
    worker, jobs = job("metric=eval/nothing")
    outcome = worker()
    assert (outcome.state, outcome.exit_code) == ("failed", 2)
    assert outcome.error.startswith("metric: no stage logged 'eval/nothing'; did you mean 'eval/")
    assert jobs.get(0) == outcome


def test_a_process_that_is_killed_is_told_by_the_signal(begun: Callable[[], tuple[Begun, Jobs]]) -> None:
    run, jobs = begun()
    os.kill(run.pid, signal.SIGKILL)
    outcome = run.ended()
    assert (outcome.state, outcome.exit_code) == ("failed", 1)
    assert outcome.error.startswith("its process ended with SIGKILL (out of memory?)")
    assert jobs.get(0) == outcome


def test_a_sweep_that_is_asked_to_stop_lets_the_stage_finish(begun: Callable[[], tuple[Begun, Jobs]], tmp_path: Path) -> None:
    run, jobs = begun()
    jobs.stop()
    end = time.monotonic() + 60
    while "stopping after this stage" not in jobs.file(0, "txt").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    run.gate.touch()
    outcome = run.ended()
    root = tmp_path / "sweep" / "0"
    assert (outcome.state, outcome.exit_code) == ("stopped", 3)
    assert outcome.error == f"stopped before main.0/evaluate; continue with: selfevo resume {root}"
    assert committed(root)[-1] == "main.0/score"


def test_a_sweep_that_is_asked_to_stop_at_once_does_not_wait_for_the_stage(begun: Callable[[], tuple[Begun, Jobs]], tmp_path: Path) -> None:
    run, jobs = begun()
    jobs.stop(now=True)
    outcome = run.ended()  # the stage is never released
    assert (outcome.state, outcome.exit_code) == ("stopped", 3)
    assert committed(tmp_path / "sweep" / "0")[-1] == "main.0/rollout"


def test_a_run_stops_when_whoever_waits_for_it_is_gone(begun: Callable[[], tuple[Begun, Jobs]], tmp_path: Path) -> None:
    run, jobs = begun()
    process = run.worker._process
    assert process is not None and process.stdin is not None
    process.stdin.close()  # what the end of the waiting process does
    end = time.monotonic() + 60
    while "stopping after this stage" not in jobs.file(0, "txt").read_text():
        assert time.monotonic() < end
        time.sleep(0.02)
    run.gate.touch()
    assert run.ended().state == "stopped"
    assert committed(tmp_path / "sweep" / "0")[-1] == "main.0/score"


def test_a_job_of_a_stopped_sweep_does_not_begin(job: Callable[..., tuple[Worker, Jobs]], tmp_path: Path) -> None:
    worker, jobs = job()
    jobs.stop()
    assert worker().state == "waiting"
    assert not (tmp_path / "sweep" / "0").exists()


def test_a_job_that_is_called_again_goes_on_where_it_stopped(begun: Callable[[], tuple[Begun, Jobs]], tmp_path: Path) -> None:
    run, jobs = begun()
    jobs.stop(now=True)
    assert run.ended().state == "stopped"
    jobs.begin()
    jobs.write(Outcome(0, (), str(tmp_path / "sweep" / "0"), "waiting"))
    run.gate.touch()
    assert run.worker().state == "done"  # as a batch queue does that queues a job again
    assert committed(tmp_path / "sweep" / "0").count("main.0/rollout") == 1
