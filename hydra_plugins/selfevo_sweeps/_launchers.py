"""`hydra/launcher=joblib`, `submitit_local`, `submitit_slurm` and `ray`: how each gets a sweep's workers to run."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from selfevo.sweeps.jobs import Jobs, Outcome
from selfevo.sweeps.launcher import SweepLauncher, deaf, given, plain, users_settings

from ._confs import SubmititConf

if TYPE_CHECKING:
    from selfevo.sweeps.worker import Worker


class JoblibLauncher(SweepLauncher):
    """Runs jobs side by side on this machine, by joblib's pool, whose workers only wait for the processes of the runs.

    Args:
        n_jobs: runs at a time; -1: as many as there are cores.
        settings: the other arguments of `joblib.Parallel`.
    """

    needs = "joblib"

    def __init__(self, n_jobs: int = -1, **settings: Any):
        self.n_jobs, self.settings = n_jobs, settings

    def run(self, workers: Sequence[Worker], jobs: Jobs) -> Iterator[Outcome]:
        """Outcomes as they come."""
        from joblib import Parallel, delayed

        from selfevo.sweeps.worker import call

        settings = given(self.settings)
        if str(settings.get("batch_size", "")).isdigit():
            settings["batch_size"] = int(settings["batch_size"])
        with deaf(), users_settings():
            outcomes = Parallel(n_jobs=self.n_jobs, return_as="generator_unordered", **settings)(delayed(call)(w) for w in workers)
        yield from outcomes


class SubmititLauncher(SweepLauncher):
    """Hands every job to submitit and waits for all of them.

    Args:
        params: as in the config; `submitit_folder`, `python` and `max_num_timeout` are the executor's, the rest what a job asks for.
    """

    needs = "submitit"
    executor = ""
    poll = 0.2

    def __init__(self, **params: Any):
        self.params = given(params)

    def run(self, workers: Sequence[Worker], jobs: Jobs) -> Iterator[Outcome]:
        """Outcomes as they come."""
        from selfevo.sweeps.worker import MainTask, lost

        with deaf(), users_settings():
            executor = self._executor()
            with executor.batch():
                pending = [(worker, executor.submit(MainTask.of(worker))) for worker in workers]
        while pending:
            for worker, job in list(pending):
                if job.done():
                    pending.remove((worker, job))
                    try:
                        yield job.results()[0]
                    except Exception as error:
                        yield lost(jobs, worker.number, error)
                elif jobs.asked and jobs.state(worker.number) == "waiting":
                    pending.remove((worker, job))
                    job.cancel(check=False)  # it is still in the queue
            time.sleep(self.poll)

    def _executor(self) -> Any:
        import submitit

        params = dict(self.params)
        init = {f"{self.executor}_{k}": params.pop(k) for k in ("max_num_timeout", "python") if k in params}
        executor = submitit.AutoExecutor(cluster=self.executor, folder=params.pop("submitit_folder"), **init)
        shared = {f.name for f in fields(SubmititConf)}
        executor.update_parameters(**{k if k in shared else f"{self.executor}_{k}": v for k, v in params.items()})
        return executor


class SubmititLocalLauncher(SubmititLauncher):
    """submitit's executor on this machine: every job at once, each with its log files. For trying what Slurm is to do."""

    executor = "local"


class SubmititSlurmLauncher(SubmititLauncher):
    """A Slurm job array. All nodes must see the sweep's folder and the current one under the same paths."""

    executor = "slurm"
    poll = 2.0


class RayLauncher(SweepLauncher):
    """A Ray task for every job, placed where the cluster has room. All nodes must see the sweep's folder and the current one.

    Args:
        ray: `init` and `remote`, as in the config. Where `remote` asks for GPUs, a run sees those that Ray gave it and no others.
    """

    needs = "ray"
    poll = 0.2

    def __init__(self, ray: Any):
        self.init, self.remote = given(plain(ray)["init"]), given(plain(ray)["remote"])

    def run(self, workers: Sequence[Worker], jobs: Jobs) -> Iterator[Outcome]:
        """Outcomes as they come."""
        import ray

        from selfevo.sweeps.worker import call, lost

        with deaf(), users_settings():
            if not ray.is_initialized():
                ray.init(**self.init)
            task = ray.remote(**self.remote)(call) if self.remote else ray.remote(call)
        pending = {task.remote(worker): worker.number for worker in workers}
        while pending:
            ready, _ = ray.wait(list(pending), num_returns=1, timeout=self.poll)
            for reference in ready:
                number = pending.pop(reference)
                try:
                    yield ray.get(reference)
                except ray.exceptions.RayError as error:
                    yield lost(jobs, number, error)
            for reference in [r for r, number in pending.items() if jobs.asked and jobs.state(number) == "waiting"]:
                del pending[reference]
                ray.cancel(reference)  # there was no room for it yet
