"""A job of a sweep in a process of its own, started and awaited by whatever a launcher placed on a machine.

The run's process is not the launcher's: a run that is killed for its memory takes no pool of workers with it, its GPU memory is given
back when it ends, and what ended it can always be told.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import EXIT_STOPPED
from .jobs import Jobs, Outcome

POLL = 0.2
"""Seconds between looks at the process and at whether the sweep was asked to stop."""


class Worker:
    """Runs job `number` of the sweep in folder `sweep` when it is called, in directory `cwd` and with `env` added to the environment.

    It holds plain values only, so any launcher can send it anywhere that sees the same files.
    """

    def __init__(self, sweep: str, number: int, cwd: str, env: Mapping[str, str]):
        self.sweep, self.number, self.cwd, self.env = sweep, number, cwd, dict(env)
        self._process: subprocess.Popen[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": None}

    def __call__(self) -> Outcome:
        """What became of the job. Raises nothing that the job does."""
        jobs = Jobs(Path(self.cwd, self.sweep))
        outcome = jobs.get(self.number)
        assert outcome is not None, f"{jobs.file(self.number)} is written before its worker is sent off"
        if jobs.asked:
            return outcome
        try:
            status = self._run(jobs, outcome)
        except OSError as error:
            failed = replace(outcome, state="failed", exit_code=1, error=f"its process cannot be started ({error})")
            jobs.write(failed)
            return failed
        after = jobs.get(self.number) or outcome
        if after.state in ("waiting", "running"):
            after = _silent(after, status, bool(jobs.asked), jobs.file(self.number, "txt"))
            jobs.write(after)
        return after

    def _run(self, jobs: Jobs, outcome: Outcome) -> int:
        """The exit status of the run's process."""
        jobs.write(replace(outcome, state="running"))
        with jobs.file(self.number, "txt").open("ab") as out:
            process = self._process = subprocess.Popen(
                [sys.executable, "-m", "selfevo.sweeps.child", str(jobs.sweep), str(self.number)],
                cwd=self.cwd, env={**os.environ, **self.env}, stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for whoever directs the sweep, who asks this worker to stop
            )  # fmt: skip
            try:
                told = 0
                while True:
                    try:
                        return process.wait(POLL)
                    except subprocess.TimeoutExpired:
                        if told < jobs.asked:  # one at a look: two at once would be one to the process
                            told += 1
                            process.send_signal(signal.SIGTERM)
            finally:
                assert process.stdin is not None
                process.stdin.close()  # whatever ends this wait: the run stops at its next commit


def call(worker: Worker) -> Outcome:
    """Call a worker: what pools and clusters are given, which want a function."""
    return worker()


class MainTask(Worker):
    """A worker as submitit calls it: once for every task of a Slurm job, of which the first one runs the job."""

    @classmethod
    def of(cls, worker: Worker) -> MainTask:
        """This worker for submitit."""
        return cls(worker.sweep, worker.number, worker.cwd, worker.env)

    def __call__(self) -> Outcome:
        """What became of the job, as far as this task can tell."""
        import submitit

        if submitit.JobEnvironment().global_rank > 0:
            return Outcome(self.number, (), "", "waiting")
        return super().__call__()

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """submitit calls this before the time of a Slurm job is over: the run stops at its next commit and is queued again."""
        from submitit.helpers import DelayedSubmission

        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()
        return DelayedSubmission(MainTask.of(self))


def lost(jobs: Jobs, number: int, error: Exception) -> Outcome:
    """What became of a job whose worker did not come back: what its own process wrote, else the launcher's error."""
    told = jobs.get(number)
    assert told is not None
    if told.state not in ("waiting", "running"):
        return told
    said = " ".join(str(error).split())
    return replace(told, state="failed", exit_code=1, error=f"its worker was lost ({type(error).__name__}: {said[:300]})")


def _silent(outcome: Outcome, status: int, asked: bool, said: Path) -> Outcome:
    """A job whose process ended without writing what became of it."""
    if asked and status in (-signal.SIGTERM, -signal.SIGINT):  # it was told to stop before the run began
        return replace(outcome, state="stopped", exit_code=EXIT_STOPPED, error="stopped before the run began")
    name = signal.Signals(-status).name if status < 0 else f"status {status}"
    why = " (out of memory?)" if status == -signal.SIGKILL else ""
    return replace(outcome, state="failed", exit_code=1, error=f"its process ended with {name}{why}; what it printed is in {said}")
