"""Keys of `hydra.launcher` under each of selfevo's launchers: those of the published launchers of the same names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

HERE = "hydra_plugins.selfevo_sweeps._launchers"
INIT = ("address", "num_cpus", "num_gpus", "include_dashboard", "namespace")
REMOTE = ("num_cpus", "num_gpus", "memory", "resources", "max_retries")


@dataclass
class JoblibConf:
    """Keys of `hydra.launcher` for joblib: those of `joblib.Parallel`."""

    _target_: str = f"{HERE}.JoblibLauncher"
    n_jobs: int = -1
    backend: str = "loky"
    prefer: str | None = "processes"
    require: str | None = None
    verbose: int = 0
    timeout: float | None = None
    pre_dispatch: str = "2*n_jobs"
    batch_size: str = "1"
    temp_folder: str | None = None
    max_nbytes: str | None = None
    mmap_mode: str | None = "r"


@dataclass
class SubmititConf:
    """Keys that both executors of submitit have."""

    submitit_folder: str = "${hydra.sweep.dir}/.submitit/%j"
    timeout_min: int = 60
    cpus_per_task: int | None = None
    gpus_per_node: int | None = None
    tasks_per_node: int = 1
    mem_gb: int | None = None
    nodes: int = 1
    name: str = "${hydra.job.name}"
    stderr_to_stdout: bool = False


@dataclass
class LocalConf(SubmititConf):
    """Keys of `hydra.launcher` for submitit on this machine."""

    _target_: str = f"{HERE}.SubmititLocalLauncher"


@dataclass
class SlurmConf(SubmititConf):
    """Keys of `hydra.launcher` for submitit on Slurm."""

    _target_: str = f"{HERE}.SubmititSlurmLauncher"
    partition: str | None = None
    qos: str | None = None
    comment: str | None = None
    constraint: str | None = None
    exclude: str | None = None
    gres: str | None = None
    cpus_per_gpu: int | None = None
    gpus_per_task: int | None = None
    mem_per_gpu: str | None = None
    mem_per_cpu: str | None = None
    account: str | None = None
    signal_delay_s: int = 120
    max_num_timeout: int = 0
    python: str | None = None
    additional_parameters: dict[str, Any] = field(default_factory=dict)
    array_parallelism: int = 256
    setup: list[str] | None = None
    srun_args: list[str] | None = None


@dataclass
class RaySettings:
    """Keys of `hydra.launcher.ray`: arguments of `ray.init` and of `ray.remote`; null leaves Ray's default, `+` adds one not listed."""

    init: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(INIT))
    remote: dict[str, Any] = field(default_factory=lambda: dict.fromkeys(REMOTE))


@dataclass
class RayConf:
    """Keys of `hydra.launcher` for Ray."""

    _target_: str = f"{HERE}.RayLauncher"
    ray: RaySettings = field(default_factory=RaySettings)
