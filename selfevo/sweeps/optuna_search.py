"""The Optuna sweeper's work: ask for values, launch the runs, tell how they did.

A trial's number is its job's number, so the same command meets the same run directories: with a seeded sampler (the default) it chooses
the values it chose before, finds their runs finished, and goes on where it was stopped. With a storage, trials that a stopped command
left unfinished come first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SelfevoError, UserError, nearest
from ..seeds import derive
from .launcher import given, plain, require, users_settings

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override
    from hydra.core.utils import JobReturn
    from hydra.plugins.launcher import Launcher
    from hydra.types import HydraContext, TaskFunction
    from omegaconf import DictConfig

DIRECTIONS = ("maximize", "minimize")
RESULTS = "optimization_results.yaml"


class Search:
    """One search; the arguments are those of `OptunaSweeper`. Raises UserError for one that makes no sense."""

    def __init__(
        self,
        sampler: DictConfig,
        direction: str,
        storage: str | None,
        study_name: str | None,
        n_trials: int,
        n_jobs: int,
        max_failure_rate: float,
        params: Mapping[str, str],
        custom_search_space: str | None,
    ):
        if direction not in DIRECTIONS:
            raise UserError(f"hydra.sweeper.direction: '{direction}'{nearest(direction, DIRECTIONS)}")
        for name, value in (("n_trials", n_trials), ("n_jobs", n_jobs)):
            if value < 1:
                raise UserError(f"hydra.sweeper.{name} must be at least 1, not {value}")
        if not 0 <= max_failure_rate <= 1:
            raise UserError(f"hydra.sweeper.max_failure_rate must be from 0 to 1, not {max_failure_rate}")
        self.sampler, self.direction, self.storage, self.study_name = sampler, direction, storage, study_name
        self.n_trials, self.n_jobs, self.max_failure_rate = n_trials, n_jobs, max_failure_rate
        self.params, self.custom = params, custom_search_space
        self.launcher: Launcher

    def setup(self, context: HydraContext, task: TaskFunction, config: DictConfig) -> None:
        """Make the launcher. Raises UserError without Optuna, or without a metric to optimise."""
        from hydra.core.plugins import Plugins

        require("optuna", "hydra/sweeper=optuna")
        if not config.get("metric") and "metric" not in {o.partition("=")[0] for o in self.params}:
            raise UserError("metric: names what hydra/sweeper=optuna optimises; give it as in metric=eval/chain_sum/pass@1")
        self.config, self.folder = config, Path(str(config.hydra.sweep.dir))
        self.launcher = Plugins.instance().instantiate_launcher(hydra_context=context, task_function=task, config=config)

    def sweep(self, arguments: Sequence[str]) -> None:
        """Run all trials; print the best one and write it to optimization_results.yaml in the sweep's folder."""
        import optuna
        from omegaconf import OmegaConf

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        space = search_space([*(f"{key}={value}" for key, value in self.params.items()), *arguments])
        self.folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, self.folder / "multirun.yaml")
        with users_settings():
            sampler, most = self._sampler({name: value for name, value in space.items() if not isinstance(value, str)})
            study = optuna.create_study(
                study_name=self.study_name, storage=self.storage, sampler=sampler, direction=self.direction, load_if_exists=True
            )
        left = [t.number for t in study.trials if t.state == optuna.trial.TrialState.RUNNING]
        trials = [_trial(study, number) for number in left]
        total = self.n_trials if most is None else min(self.n_trials, most)
        while True:
            room = max(0, total - len(study.trials))
            trials += [study.ask() for _ in range(min(room, max(0, self.n_jobs - len(trials))))]
            if not trials:
                break
            batch, trials = trials[: self.n_jobs], trials[self.n_jobs :]
            self._batch(study, batch, space)
        self._report(study)

    def _batch(self, study: Any, trials: Sequence[Any], space: Mapping[str, Any]) -> None:
        """Run some trials and tell the study. A launcher numbers a batch from its first job on, so gaps in the numbers part it."""
        from hydra.utils import get_method

        asked = []
        for trial in trials:
            with users_settings():
                for name, value in space.items():
                    if not isinstance(value, str):
                        trial._suggest(name, value)
                if self.custom is not None:
                    get_method(self.custom)(self.config, trial)
            chosen = {name: f"{name}={_text(value)}" for name, value in trial.params.items()}
            asked.append(list(({**space, **chosen}).values()))
        failed = start = 0
        while start < len(trials):
            end = start + 1
            while end < len(trials) and trials[end].number == trials[end - 1].number + 1:
                end += 1
            returns = self.launcher.launch(asked[start:end], initial_job_idx=trials[start].number)
            for trial, returned in zip(trials[start:end], returns, strict=True):
                failed += _tell(study, trial, returned)
            start = end
        if failed > self.max_failure_rate * len(trials):
            raise UserError(
                f"hydra.sweeper.max_failure_rate: {failed} of {len(trials)} runs of a batch failed, more than {self.max_failure_rate}"
            )

    def _sampler(self, searched: Mapping[str, Any]) -> tuple[Any, int | None]:
        """The sampler, and how many trials it can give at most."""
        from hydra.utils import instantiate

        seed = self.config.get("seed")
        own = derive("sweep", seed if isinstance(seed, int) else 0) % 2**32  # the key may itself be searched
        node = {"seed": own, **given(plain(self.sampler))}
        if str(node["_target_"]).rpartition(".")[2] != "GridSampler":
            return instantiate(node), None
        choices = {name: grid(name, distribution) for name, distribution in searched.items()}
        return instantiate(node, search_space=choices), math.prod(map(len, choices.values()))

    def _report(self, study: Any) -> None:
        """Print and write the best trial, or raise where there is none."""
        from omegaconf import OmegaConf

        metric = self.config.get("metric")
        done = [t for t in study.trials if t.value is not None]
        if not done:
            raise SelfevoError("hydra/sweeper=optuna: no run finished with a value, so there is no best one")
        best = study.best_trial
        results = {"name": "optuna", "best_params": best.params, "best_value": best.value, "best_trial": best.number}
        OmegaConf.save(OmegaConf.create(results), self.folder / RESULTS)
        values = " ".join(f"{name}={_text(value)}" for name, value in best.params.items())
        print(f"best of {len(done)} runs: run {best.number}, {metric} {best.value:.6g}, with {values} (in {self.folder / RESULTS})")


def search_space(arguments: Sequence[str]) -> dict[str, Any]:
    """{override key: the override that every run has, or Optuna's distribution of what is searched}, in the order they were given.

    `a=1,2` and `choice(...)` are categories; `range(...)` is whole or stepped numbers; `interval(a, b)` is continuous and
    `int(interval(a, b))` whole; `tag(log, interval(...))` is searched on a logarithmic scale. Later arguments rule over earlier ones.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    space: dict[str, Any] = {}
    for override in OverridesParser.create().parse_overrides(list(arguments)):
        key = override.get_key_element()
        if override.is_sweep_override():
            with users_settings():
                space[key] = distribution(override)
        else:
            space[key] = override.input_line if override.is_delete() else f"{key}={override.get_value_element_as_str()}"
    return space


def distribution(override: Override) -> Any:
    """Optuna's distribution for the values of an override."""
    from hydra.core.override_parser.types import IntervalSweep, RangeSweep, Transformer
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    value = override.value()
    if isinstance(value, IntervalSweep):
        low, high, log = value.start, value.end, "log" in value.tags
        whole = isinstance(low, int) and isinstance(high, int)
        return IntDistribution(low, high, log=log) if whole else FloatDistribution(float(low), float(high), log=log)  # type: ignore[arg-type]
    if isinstance(value, RangeSweep) and not value.shuffle:
        start, stop, step = value.start, value.stop, value.step
        assert start is not None and stop is not None
        last = start + step * (math.ceil((stop - start) / step) - 1)  # a range does not hold its end, a distribution does
        if all(isinstance(x, int) for x in (start, stop, step)):
            return IntDistribution(int(start), int(last), step=int(step))
        return FloatDistribution(float(start), float(last), step=float(step))
    return CategoricalDistribution(list(override.sweep_iterator(transformer=Transformer.encode)))  # type: ignore[arg-type]


def grid(name: str, of: Any) -> list[Any]:
    """Every value of a distribution. Raises UserError for a continuous one."""
    if hasattr(of, "choices"):
        return list(of.choices)
    if of.step is None or of.log:
        raise UserError(f"{name}: hydra/sweeper/sampler=grid needs values that can be counted; give choices or a range with a step")
    return [of.low + i * of.step for i in range(round((of.high - of.low) / of.step) + 1)]


def _text(value: Any) -> str:
    """A value as an override has it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _trial(study: Any, number: int) -> Any:
    """A trial that an earlier command left unfinished, to be suggested the values it had."""
    import optuna

    return optuna.trial.Trial(study, study.trials[number]._trial_id)


def _tell(study: Any, trial: Any, returned: JobReturn) -> bool:
    """Tell the study how a run did; returns whether it failed."""
    import optuna
    from hydra.core.utils import JobStatus

    value = returned._return_value  # the property would print a failure, which was named already, and raise it
    good = returned.status == JobStatus.COMPLETED and isinstance(value, (int, float)) and not math.isnan(value)
    try:
        study.tell(trial, float(value)) if good else study.tell(trial, state=optuna.trial.TrialState.FAIL)
    except RuntimeError as error:
        if "Study.stop" not in str(error):  # how a grid says that it is used up
            raise
    return not good
