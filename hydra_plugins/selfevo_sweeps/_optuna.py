"""`hydra/sweeper=optuna`, with the keys of the published sweeper of this name, and its samplers (`hydra/sweeper/sampler=...`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hydra.plugins.sweeper import Sweeper
from omegaconf import MISSING

if TYPE_CHECKING:
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig


@dataclass
class OptunaConf:
    """Keys of `hydra.sweeper` for Optuna."""

    _target_: str = "hydra_plugins.selfevo_sweeps._optuna.OptunaSweeper"
    _recursive_: bool = False
    defaults: list[Any] = field(default_factory=lambda: [{"sampler": "tpe"}])
    sampler: dict[str, Any] = MISSING
    direction: str = "maximize"
    storage: str | None = None
    study_name: str | None = None
    n_trials: int = 20
    n_jobs: int = 2
    max_failure_rate: float = 1.0
    params: dict[str, str] | None = None
    custom_search_space: str | None = None


class OptunaSweeper(Sweeper):
    """Optuna chooses the values of the next runs from how the runs so far did; `selfevo.sweeps.optuna_search` does the work.

    Args:
        sampler: a sampler of `optuna.samplers`; `hydra/sweeper/sampler` picks one. Without a seed of its own it has one made from the key
            `seed`, so the same command chooses the same values again.
        direction: "maximize" or "minimize" the metric that the key `metric` names.
        storage: URL of an Optuna storage (sqlite:///study.db), where the study outlives the command; null keeps it in memory.
        study_name: its name there.
        n_trials: runs in all, those of earlier commands on the same storage included.
        n_jobs: runs that are chosen together and handed to the launcher as one batch.
        max_failure_rate: a batch in which a greater share of the runs fails ends the sweep; 1: none does.
        params: searched or fixed overrides, as on the command line, which rules over them.
        custom_search_space: dotted path of a function(cfg, trial) that suggests further values.
    """

    def __init__(
        self,
        sampler: DictConfig,
        direction: str,
        storage: str | None,
        study_name: str | None,
        n_trials: int,
        n_jobs: int,
        max_failure_rate: float,
        params: DictConfig | None,
        custom_search_space: str | None,
    ):
        from selfevo.sweeps.optuna_search import Search

        self.search = Search(
            sampler, direction, storage, study_name, n_trials, n_jobs, max_failure_rate, dict(params or {}), custom_search_space
        )

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Hydra's own call."""
        self.hydra_context, self.config = hydra_context, config
        self.search.setup(hydra_context, task_function, config)

    def sweep(self, arguments: list[str]) -> None:
        """Search; `arguments` are the overrides of the command line."""
        self.search.sweep(arguments)


SAMPLERS: dict[str, dict[str, Any]] = {
    "tpe": {"_target_": "optuna.samplers.TPESampler", "n_startup_trials": 10, "n_ei_candidates": 24, "multivariate": None},
    "random": {"_target_": "optuna.samplers.RandomSampler"},
    "grid": {"_target_": "optuna.samplers.GridSampler"},
    "cmaes": {"_target_": "optuna.samplers.CmaEsSampler", "sigma0": None, "n_startup_trials": 1},
    "nsgaii": {"_target_": "optuna.samplers.NSGAIISampler", "population_size": 50, "crossover_prob": 0.9, "swapping_prob": 0.5},
    "gp": {"_target_": "optuna.samplers.GPSampler", "n_startup_trials": 10, "deterministic_objective": False},
    "qmc": {"_target_": "optuna.samplers.QMCSampler", "qmc_type": "sobol", "scramble": False},
}
"""`hydra/sweeper/sampler`: the class and the arguments that are listed; others are added with `+hydra.sweeper.sampler.<name>=...`."""
