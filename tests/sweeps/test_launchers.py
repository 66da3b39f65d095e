"""The launchers that run jobs elsewhere, each with its real library: failures, killed processes, Ctrl-C, and the same command again."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
from as_user import Said, metrics, start, waiting

from selfevo.comparing.find import find
from selfevo.sweeps.jobs import Jobs

pytestmark = pytest.mark.scale

LAUNCHERS = {
    "joblib": ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra/launcher=submitit_local"],
    "ray": ["hydra/launcher=ray",
            *(f"hydra.launcher.ray.init.{setting}" for setting in ("address=local", "num_cpus=2", "include_dashboard=false"))],
}

Finished = Callable[[Path], set[str]]


@pytest.fixture(params=LAUNCHERS)
def launcher(request: pytest.FixtureRequest) -> list[str]:
    pytest.importorskip({"submitit_local": "submitit"}.get(request.param, request.param))
    return LAUNCHERS[request.param]


@pytest.fixture
def sweep(quick: list[str], tmp_path: Path) -> Iterator[Callable[..., Popen[str]]]:
    """Starts a sweep in `tmp_path`/sweep in a process of its own; afterwards nothing of it may be left."""
    begun: list[Popen[str]] = []

    def begin(*arguments: str) -> Popen[str]:
        begun.append(start("run", "-m", *quick, *arguments, f"hydra.sweep.dir={tmp_path / 'sweep'}", cwd=tmp_path))
        return begun[-1]

    yield begin
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()
    until(lambda: not [pid for pid in pids(str(tmp_path)) if pid != os.getpid()], "processes of the sweep are left behind")


def until(true: Callable[[], object], what: str, seconds: float = 120) -> None:
    """Return once `true()` is."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def pids(*words: str) -> list[int]:
    """Processes with all of these words in their command."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                command = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
                if all(any(word in part for part in command) for word in words):
                    found.append(int(folder.name))
    return found


def ended(process: Popen[str]) -> Said:
    out, err = process.communicate(timeout=180)
    return Said(process.returncode, out, err)


def test_four_runs_finish_and_a_mistaken_one_is_named(
    launcher: list[str], sweep: Callable[..., Popen[str]], tmp_path: Path, finished: Finished
) -> None:
    said = ended(sweep(*launcher, "seed=0,1,2,3,none", "metric=eval/chain_sum/pass@1"))
    folder = tmp_path / "sweep"
    assert finished(folder) == {"0", "1", "2", "3"}, said.err
    assert said.status == 2
    mine = [line for line in said.err.splitlines() if line.startswith("selfevo: ")]
    error = "run 4 (seed=none) failed: seed: expected a whole number, got 'none'"
    assert mine[:2] == [f"selfevo: {error}"] * 2  # when it was met, and at the end
    assert mine[2].startswith("selfevo: 4 of 5 runs of the sweep are done; the same command with hydra.sweep.dir=")
    ended_, results = said.out.split("\nRanking by eval/chain_sum/pass@1, highest first\n")
    assert [line.split(" ")[0:3] for line in sorted(ended_.splitlines())] == [["run", str(n), f"(seed={n}):"] for n in range(4)]
    assert results.endswith(f"\nreport of the sweep: {folder}/report.html\n")
    assert "seed: expected a whole number" in (folder / "report.html").read_text()
    runs = find([folder])
    assert [(f.label, f.status) for f in runs] == [("0", "done"), ("1", "done"), ("2", "done"), ("3", "done"), ("4", "failed")]
    assert [o.value for o in Jobs(folder).read()[:4]] == [metrics(folder / str(n))[-1][2]["eval/chain_sum/pass@1"] for n in range(4)]


def test_ctrl_c_stops_every_run_a_killed_one_fails_alone_and_the_same_command_ends_it_all(
    launcher: list[str], sweep: Callable[..., Popen[str]], quick: list[str], tmp_path: Path, finished: Finished
) -> None:
    gate, folder = tmp_path / "gate", tmp_path / "sweep"
    command = [*launcher, "seed=0,1,2", waiting(gate)]
    process = sweep(*command)
    until(lambda: gate.with_suffix(".here").exists() or process.poll() is not None, "no run came to its score stage")
    until(lambda: pids("selfevo.sweeps.child", str(folder), "0"), "run 0 never began")
    (first,) = [pid for pid in pids("selfevo.sweeps.child", str(folder)) if command_of(pid)[-1] == "0"]
    os.kill(first, signal.SIGKILL)
    until(lambda: Jobs(folder).state(0) == "failed", "nobody noticed that run 0 was killed")
    until(lambda: (folder / "1" / "manifest.jsonl").exists(), "run 1 never began")
    process.send_signal(signal.SIGINT)
    until(lambda: Jobs(folder).asked, "the sweep was not asked to stop")
    until(lambda: all(heard(Jobs(folder), number) for number in (1, 2)), "a run was not asked to stop")
    gate.touch()
    said = ended(process)
    assert said.status == 3, said.err
    assert "note: stopping every run after its stage; press Ctrl-C again to stop them at once" in said.err
    assert "selfevo: run 0 (seed=0) failed: its process ended with SIGKILL (out of memory?)" in said.err
    for number in (1, 2):
        state = Jobs(folder).state(number)
        (line,) = [x for x in said.err.splitlines() if x.startswith(f"selfevo: run {number} (seed={number}) ")]
        if state == "waiting":
            assert line.endswith("was not started")
        elif "before the run began" not in line:
            assert line.endswith(f"continue with: selfevo resume {(folder / str(number)).relative_to(tmp_path)}")
    again = ended(sweep(*command))
    assert again.status == 0, again.err
    assert finished(folder) == {"0", "1", "2"}
    for number in (0, 1, 2):
        stages = [(path, stage) for path, stage, _ in metrics(folder / str(number))]
        assert stages == [("start", "evaluate"), ("main.0", "rollout"), ("main.0", "score"), ("main.0", "evaluate")]


@pytest.fixture
def slurm_in_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command `srun` on the path, which submitit takes for a cluster: enough to write what sbatch would be given."""
    pytest.importorskip("submitit")
    srun = tmp_path / "bin" / "srun"
    srun.parent.mkdir()
    srun.write_text("#!/bin/sh\nexit 1\n")
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", f"{srun.parent}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.usefixtures("slurm_in_name")
def test_what_slurm_is_asked_for_is_what_was_set(tmp_path: Path) -> None:
    from omegaconf import OmegaConf

    from hydra_plugins.selfevo_sweeps._confs import SlurmConf
    from hydra_plugins.selfevo_sweeps._launchers import SubmititSlurmLauncher

    conf = OmegaConf.structured(SlurmConf(submitit_folder=str(tmp_path), name="mine", partition="gpu", timeout_min=90, gpus_per_node=2,
                                          cpus_per_task=4, mem_gb=10, additional_parameters={"reservation": "us"}, setup=["module load x"],
                                          max_num_timeout=2))  # fmt: skip
    executor = SubmititSlurmLauncher(**{k: v for k, v in conf.items() if k != "_target_"})._executor()
    text = executor._executor._make_submission_file_text("the command", "uid")
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    options = dict(line.split("=", 1) for line in lines if "=" in line)
    asked = {"partition": "gpu", "time": "90", "gpus-per-node": "2", "cpus-per-task": "4", "mem": "10GB", "reservation": "us",
             "job-name": "mine", "nodes": "1", "ntasks-per-node": "1"}  # fmt: skip
    assert {k: options.get(k) for k in asked} == asked
    assert options["signal"].endswith("@120") and "module load x" in text.splitlines()
    assert executor._executor.max_num_timeout == 2


def test_slurm_where_there_is_none_is_one_line(quick: list[str], tmp_path: Path, sweep: Callable[..., Popen[str]]) -> None:
    pytest.importorskip("submitit")
    said = ended(sweep("hydra/launcher=submitit_slurm", "seed=0,1"))
    assert said.status == 2
    assert said.line == 'hydra.launcher: RuntimeError: Could not detect "srun", are you indeed on a slurm cluster?'


def test_a_job_that_its_queue_takes_back_goes_on_when_it_is_queued_again(sweep: Callable[..., Popen[str]], tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    gate, folder = tmp_path / "gate", tmp_path / "sweep"
    process = sweep("hydra/launcher=submitit_local", "seed=0", waiting(gate))
    until(lambda: gate.with_suffix(".here").exists() or process.poll() is not None, "the run never came to its score stage")
    (worker,) = [pid for pid in pids("submitit.core._submit", str(folder)) if "submitit.local._local" not in command_of(pid)]
    os.kill(worker, signal.SIGUSR2)  # what Slurm sends before it preempts a job or its time is over
    until(lambda: "stopping after this stage" in Jobs(folder).file(0, "txt").read_text(), "the run was not asked to stop")
    gate.touch()
    said = ended(process)
    assert said.status == 0, said.err
    told = Jobs(folder).file(0, "txt").read_text()
    assert told.index("stopped after") < told.index("resuming run") < told.index("done after")
    assert [stage for _, stage, _ in metrics(folder / "0")] == ["evaluate", "rollout", "score", "evaluate"]


def heard(jobs: Jobs, number: int) -> bool:
    """Whether a run that began knows that it is to stop."""
    return jobs.state(number) != "running" or "stopping after this stage" in jobs.file(number, "txt").read_text()


def command_of(pid: int) -> list[str]:
    """The words of a process's command."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().rstrip("\0").split("\0")
