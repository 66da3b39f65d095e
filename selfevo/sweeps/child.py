"""The process of one job of a sweep: `python -m selfevo.sweeps.child SWEEP NUMBER`, started by a `Worker`. Not for users."""

from __future__ import annotations

import os
import signal
import sys
import threading
from dataclasses import replace
from pathlib import Path

from ..cli import complain
from ..errors import EXIT_STOPPED, SelfevoError, UserError
from ..spec import load
from . import again
from .jobs import Jobs


def main(sweep: Path, number: int) -> int:
    """Run the job and write what became of it; returns the exit status."""
    jobs = Jobs(sweep)
    outcome = jobs.get(number)
    if outcome is None:
        raise UserError(f"{jobs.file(number)}: there is no such job")
    try:
        outcome = outcome.done(again.run(load(jobs.file(number, "yaml")), Path(outcome.root)))
    except SelfevoError as error:
        complain(error)
        outcome = outcome.ended(error)
    except KeyboardInterrupt:
        outcome = replace(outcome, state="stopped", exit_code=EXIT_STOPPED, error="stopped before the run began")
    jobs.write(outcome)
    return outcome.exit_code


def stop_with_parent() -> None:
    """Ask this process to stop when the other end of its standard input is closed: whoever waits for the run has gone, or wants that."""

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    stop_with_parent()
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))
