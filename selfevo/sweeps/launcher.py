"""What selfevo's Hydra launchers share: jobs are composed and checked here, run elsewhere, and never end the sweep.

The published launchers call the job inside their own worker. With them a worker that dies ends the sweep, Ctrl-C leaves jobs in a
queue, and a mistake in the last job's spec shows when the others have run. Here every job is checked before the first one starts, each
runs in a process of its own (`worker`), and what became of it is told in files (`jobs`).
"""

from __future__ import annotations

import copy
import importlib
import os
import signal
import sys
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.plugins.launcher import Launcher

from ..errors import SelfevoError, UserError
from ..stopping import hearing
from .jobs import Jobs, Outcome, names

if TYPE_CHECKING:
    from hydra.core.utils import JobReturn
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

    from .worker import Worker


@dataclass
class Prepared:
    """A job as Hydra composed it; `worker` None: there is nothing to run (its spec is wrong, or it was finished before)."""

    cfg: DictConfig
    outcome: Outcome
    worker: Worker | None


class SweepLauncher(Launcher):
    """Base of the launchers. A subclass names the package it `needs` and says in `run` how workers get to run."""

    needs = ""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's own call. Raises UserError when the package is not installed."""
        self.hydra_context, self.task_function, self.config = hydra_context, task_function, config
        choice = config.hydra.runtime.choices.get("hydra/launcher", self.needs)
        require(self.needs, f"hydra/launcher={choice}")
        if config.hydra.job.chdir:
            raise UserError(f"hydra.job.chdir: runs of hydra/launcher={choice} stay in the folder the sweep was started in; expected false")

    @abstractmethod
    def run(self, workers: Sequence[Worker], jobs: Jobs) -> Iterator[Outcome]:
        """Have the workers called, in their order as far as there is room, and give each one's outcome when it is there.

        When `jobs.asked` is set, workers that have begun stop by themselves, others return at once; what waits in a queue is taken out.
        """

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Run the jobs; returns what Hydra's sweepers read. Raises KeyboardInterrupt after a Ctrl-C, when every run has stopped."""
        from hydra.core.utils import setup_globals

        setup_globals()
        jobs = Jobs(Path(str(self.config.hydra.sweep.dir)))
        prepared = [self._prepare(list(overrides), initial_job_idx + i, jobs) for i, overrides in enumerate(job_overrides)]
        shown = names(jobs.read())  # those of earlier batches included: a batch may ask for the same twice
        for p in prepared:
            if p.worker is None:
                self._say(p.outcome, shown[p.outcome.number])
        workers = [p.worker for p in prepared if p.worker is not None]
        ends = {p.outcome.number: p.outcome for p in prepared}
        with stopping(jobs):
            for outcome in self._outcomes(workers, jobs):
                ends[outcome.number] = outcome
                self._say(outcome, shown[outcome.number])
        if jobs.asked:
            raise KeyboardInterrupt
        return [self._returned(p.cfg, ends[p.outcome.number]) for p in prepared]

    def _outcomes(self, workers: Sequence[Worker], jobs: Jobs) -> Iterator[Outcome]:
        """Every worker's outcome as it comes; trouble with the launcher's own package fails the jobs that are left, and says so."""
        from .worker import lost

        left = [worker.number for worker in workers]
        try:
            for outcome in self.run(workers, jobs) if workers else ():
                left.remove(outcome.number)
                if outcome.state != "waiting":  # one that was not begun may begin while it is taken out of a queue
                    jobs.write(outcome)
                yield outcome
        except SelfevoError:
            raise
        except Exception as error:
            for number in left:
                outcome = lost(jobs, number, error)
                jobs.write(outcome)
                yield outcome

    def _prepare(self, overrides: list[str], number: int, jobs: Jobs) -> Prepared:
        """Compose and check one job, and put down what its worker is to run."""
        from hydra.core.hydra_config import HydraConfig
        from omegaconf import OmegaConf, open_dict, read_write

        from ..commands.run import shortest
        from ..spec import check, dump
        from . import again
        from .worker import Worker

        cfg = self.hydra_context.config_loader.load_sweep_config(self.config, overrides)
        with open_dict(cfg):
            cfg.hydra.job.id, cfg.hydra.job.num = str(number), number
        before = HydraConfig.instance().cfg
        try:
            HydraConfig.instance().set_config(cfg)
            root = Path.cwd() / str(cfg.hydra.sweep.dir) / str(cfg.hydra.sweep.subdir)
            with read_write(cfg.hydra.runtime), open_dict(cfg.hydra.runtime):
                cfg.hydra.runtime.output_dir = str(root)
            HydraConfig.instance().set_config(cfg)
            outcome = Outcome(number, tuple(OmegaConf.to_container(cfg.hydra.overrides.task)), str(shortest(root)), "waiting")  # type: ignore[arg-type]
            worker = None
            try:
                spec = check(_task(cfg))
                if again.found(spec, root) == "finished":
                    outcome = outcome.done(again.last_value(spec, root))
                else:
                    where, env = str(shortest(jobs.sweep.absolute())), {k: str(v) for k, v in cfg.hydra.job.env_set.items()}
                    worker = Worker(where, number, str(Path.cwd()), env)
                    jobs.folder.mkdir(parents=True, exist_ok=True)
                    jobs.file(number, "yaml").write_text(dump(spec))
            except SelfevoError as error:
                outcome = outcome.ended(error)
        finally:
            HydraConfig.instance().cfg = before
        jobs.write(outcome)
        return Prepared(cfg, outcome, worker)

    def _say(self, outcome: Outcome, overrides: str) -> None:
        """One line when a job ends; how one failed goes to stderr at once, since the sweep goes on."""
        from ..commands.plain import say

        name = f"run {outcome.number}" + (f" ({overrides})" if overrides else "")
        if outcome.state == "failed":
            say(f"selfevo: {name} failed: {outcome.line}", sys.stderr)
        else:
            value = "" if outcome.value is None else f", {self.config.get('metric')} {outcome.value:.6g}"
            say(f"{name}: {outcome.state}{value}, in {outcome.root}")

    def _returned(self, cfg: DictConfig, outcome: Outcome) -> JobReturn:
        """The job as Hydra's sweepers know it. Hydra's own one ends the sweep at the first failure it hears of, so it hears of none."""
        from hydra.core.utils import JobReturn, JobStatus

        from .here import basic

        returned = JobReturn(
            overrides=list(outcome.overrides), cfg=_task(cfg), hydra_cfg=cfg, working_dir=os.getcwd(), task_name=cfg.hydra.job.name,
            status=JobStatus.COMPLETED,
        )  # fmt: skip
        returned.return_value = outcome.value
        if outcome.state != "done" and not basic(self.config.hydra.sweeper):
            error = SelfevoError(outcome.error)
            error.exit_code, error.printed = outcome.exit_code, True  # type: ignore[attr-defined]
            returned.status, returned.return_value = JobStatus.FAILED, error
        return returned


def _task(cfg: DictConfig) -> DictConfig:
    """The config as a job sees it: without Hydra's node."""
    from omegaconf import open_dict, read_write

    own = copy.deepcopy(cfg)
    with read_write(own), open_dict(own):
        del own["hydra"]
    return own


@contextmanager
def stopping(jobs: Jobs) -> Iterator[None]:
    """Ctrl-C (or SIGTERM) asks every job to stop after its stage, the second one at once; the third does not wait for them."""

    def handle(number: int, frame: Any) -> None:
        asked = jobs.asked
        if asked == 2:
            raise KeyboardInterrupt
        jobs.stop(now=asked == 1)
        said = "stopping every run at once" if asked else "stopping every run after its stage; press Ctrl-C again to stop them at once"
        os.write(2, f"note: {said}\n".encode())  # not through the buffer that this signal may have interrupted

    with hearing(handle):
        yield


def deaf() -> AbstractContextManager[None]:
    """Processes started inside ignore Ctrl-C for good: the terminal sends it to them too, but one process directs the sweep."""
    return hearing(signal.SIG_IGN, (signal.SIGINT,))


@contextmanager
def users_settings() -> Iterator[None]:
    """Errors inside come from what the user set for the launcher: one line, exit status 2."""
    try:
        yield
    except SelfevoError:
        raise
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        raise UserError(f"hydra.launcher: {type(error).__name__}: {first}") from error


def require(package: str, what: str) -> None:
    """Raise UserError, in one line, when a package that a choice of the user's needs is not installed."""
    try:
        importlib.import_module(package)
    except ImportError as error:
        hint = "install it with: pip install 'selfevo[sweep]'"
        raise UserError(f"{what} needs {package}, which cannot be imported ({error}); {hint}") from error


def plain(value: Any) -> Any:
    """A node of a config as plain values."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that were given, as plain values: null leaves the library's own default."""
    return {name: plain(value) for name, value in settings.items() if value is not None}
