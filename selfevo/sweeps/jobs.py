"""The jobs of a sweep: what was asked of each and what became of it, in small files that every process of the sweep can read.

A job may run in another process or on another machine, in a batch queue or under a launcher from elsewhere. So each job writes what
became of it to `<sweep folder>/jobs/<number>.json`, and whoever directs the sweep reads that, whatever the launcher brought back.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import SelfevoError, Stopped

FOLDER = "jobs"

State = Literal["waiting", "running", "done", "failed", "stopped"]
"""waiting: not begun; running: begun, and nothing heard since; stopped: at a commit, to be resumed."""


@dataclass(frozen=True)
class Outcome:
    """What became of one job. `root` is its run directory as one would type it, `error` what ended it (a line per mistake), `exit_code`
    the exit status it would have had alone, `value` the metric a sweeper optimises."""

    number: int
    overrides: tuple[str, ...]
    root: str
    state: State
    exit_code: int = 0
    error: str = ""
    value: float | None = None

    def done(self, value: float | None) -> Outcome:
        """This job finished with this value of the metric."""
        return replace(self, state="done", exit_code=0, error="", value=value)

    def ended(self, error: SelfevoError) -> Outcome:
        """This job ended by an error, or stopped at a commit."""
        state: State = "stopped" if error.exit_code == Stopped.exit_code else "failed"
        return replace(self, state=state, exit_code=error.exit_code, error=str(error) or type(error).__name__)

    @property
    def line(self) -> str:
        """The error in one line."""
        first, *more = self.error.splitlines() or [""]
        return f"{first} (and {len(more)} more)" if more else first


class Jobs:
    """The files about the jobs of the sweep in `sweep`. Nothing here fails a job: what a full disk keeps from being written is
    remembered by the process that wanted to write it."""

    def __init__(self, sweep: Path):
        self.sweep, self.folder = sweep, sweep / FOLDER
        self._known: dict[int, Outcome] = {}

    def begin(self) -> None:
        """Forget what an earlier command said of jobs that did not finish: they are about to be tried again."""
        for outcome in self.read():
            if outcome.state != "done":
                self.file(outcome.number).unlink(missing_ok=True)
        self._stop_file.unlink(missing_ok=True)

    def file(self, number: int, kind: str = "json") -> Path:
        """`json`: the outcome; `yaml`: the job's resolved spec; `txt`: what its process printed."""
        return self.folder / f"{number}.{kind}"

    def write(self, outcome: Outcome) -> None:
        """Record what is now known of a job; readers never see half of it."""
        self._known[outcome.number] = outcome
        target = self.file(outcome.number)
        part = target.with_suffix(f".{os.getpid()}.part")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(outcome)) + "\n")
            os.replace(part, target)

    def get(self, number: int) -> Outcome | None:
        """What the file of a job says, or else what this process knows of it."""
        try:
            data = json.loads(self.file(number).read_text())
            return Outcome(**{**data, "overrides": tuple(data["overrides"])})
        except (OSError, ValueError, TypeError, KeyError):
            return self._known.get(number)

    def state(self, number: int) -> State:
        """How far a job has come; "waiting" where nothing is known."""
        outcome = self.get(number)
        return "waiting" if outcome is None else outcome.state

    def read(self) -> list[Outcome]:
        """Every job there is anything to say of, by number."""
        files = self.folder.glob("*.json") if self.folder.is_dir() else ()
        numbers = {int(file.stem) for file in files if file.stem.isdigit()} | self._known.keys()
        return [outcome for number in sorted(numbers) if (outcome := self.get(number)) is not None]

    @property
    def begun(self) -> bool:
        """Whether any job is past waiting."""
        return any(outcome.state != "waiting" for outcome in self.read())

    @property
    def _stop_file(self) -> Path:
        return self.folder / "stop"

    def stop(self, now: bool = False) -> None:
        """Ask every job to stop after its stage, or at once; those that have not begun do not begin."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._stop_file.write_text("now\n" if now else "after this stage\n")

    @property
    def asked(self) -> int:
        """0: go on; 1: stop after this stage; 2: stop at once."""
        try:
            return 2 if self._stop_file.read_text().startswith("now") else 1
        except OSError:
            return 0


def varying(jobs: Sequence[Iterable[str]]) -> list[list[str]]:
    """Of each job's overrides those that not all of them have (all of them for a single job), without the prefixes Hydra wanted."""
    sets = [list(overrides) for overrides in jobs]
    shared = set.intersection(*map(set, sets)) if len(sets) > 1 else set()
    return [[o.lstrip("+") for o in overrides if o not in shared and not re.match(r"[+~]*hydra[./]", o)] for overrides in sets]


def names(outcomes: Sequence[Outcome]) -> dict[int, str]:
    """{number: what tells a job from the others}."""
    return {o.number: " ".join(own) for o, own in zip(outcomes, varying([o.overrides for o in outcomes]), strict=True)}
