"""The Optuna sweeper: what it searches, what it is told, and that the same command goes on with the search."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from as_user import Said, metrics

from selfevo.errors import UserError
from selfevo.sweeps.jobs import Jobs

pytestmark = pytest.mark.scale

LENGTH = "eval/chain_sum/length"
SEARCH = ["hydra/sweeper=optuna", "hydra.sweeper.n_trials=4", f"metric={LENGTH}"]
"""Scripted replies are as long as `max_tokens` allows, so the mean length is a metric whose optimum is known."""

Say = Callable[..., Said]


@pytest.fixture(autouse=True)
def _needs_optuna() -> None:
    pytest.importorskip("optuna")


def chosen(folder: Path, key: str) -> list[str]:
    """The values of a key that the jobs of a sweep had, by number."""
    return [o.lstrip("+").partition("=")[2] for job in Jobs(folder).read() for o in job.overrides if o.lstrip("+").startswith(f"{key}=")]


def values(folder: Path) -> list[float]:
    """The metric's last value in every run, by number."""
    return [metrics(folder / str(job.number))[-1][2][LENGTH] for job in Jobs(folder).read()]


@pytest.mark.parametrize("direction, best", [("maximize", max), ("minimize", min)])
def test_four_trials_run_and_the_best_one_is_named(say: Say, quick: list[str], tmp_path: Path, direction: str, best: Callable) -> None:
    said = say("run", "-m", *quick, *SEARCH, "roles.solver.max_tokens=range(1,5)", f"hydra.sweeper.direction={direction}",
               f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert (said.status, said.err) == (0, "")
    measured = values(tmp_path)
    assert len(measured) == 4
    results = yaml.safe_load((tmp_path / "optimization_results.yaml").read_text())
    number = results["best_trial"]
    assert results["best_value"] == measured[number] == best(measured)
    assert str(results["best_params"]["roles.solver.max_tokens"]) == chosen(tmp_path, "roles.solver.max_tokens")[number]
    shown = f"best of 4 runs: run {number}, {LENGTH} {measured[number]:.6g}, with roles.solver.max_tokens="
    assert [line for line in said.out.splitlines() if line.startswith(shown)]


def test_a_failed_trial_does_not_end_the_search(say: Say, quick: list[str], tmp_path: Path) -> None:
    grid = ["hydra/sweeper/sampler=grid", "roles.solver.top_p=0.5,1.0,7.0,8.0"]
    said = say("run", "-m", *quick, *SEARCH, *grid, f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2
    assert sorted(chosen(tmp_path, "roles.solver.top_p")) == ["0.5", "1.0", "7.0", "8.0"]
    assert said.err.count(") failed: roles.solver: top_p must be in (0, 1], not ") == 2
    assert "best of 2 runs: " in said.out


def test_more_failures_than_allowed_end_the_search(say: Say, quick: list[str], tmp_path: Path) -> None:
    said = say("run", "-m", *quick, *SEARCH, "hydra/sweeper/sampler=grid", "roles.solver.top_p=0.5,1.0,7.0,8.0", "hydra.sweeper.n_jobs=4",
               "hydra.sweeper.max_failure_rate=0.25", f"hydra.sweep.dir={tmp_path}")  # fmt: skip
    assert said.status == 2
    assert "selfevo: hydra.sweeper.max_failure_rate: 2 of 4 runs of a batch failed, more than 0.25\n" in said.err


def test_the_same_command_chooses_the_same_values_and_keeps_the_finished_runs(say: Say, quick: list[str], tmp_path: Path) -> None:
    command = ["run", "-m", *quick, *SEARCH, "optimizer.lr=tag(log,interval(1e-5,1e-2))", f"hydra.sweep.dir={tmp_path}"]
    assert say(*command, "hydra.sweeper.n_trials=2").status == 0
    first = chosen(tmp_path, "optimizer.lr")
    before = [(tmp_path / n / "manifest.jsonl").stat().st_mtime_ns for n in "01"]
    assert say(*command).status == 0
    assert chosen(tmp_path, "optimizer.lr")[:2] == first
    assert [(tmp_path / n / "manifest.jsonl").stat().st_mtime_ns for n in "01"] == before
    assert all(1e-5 <= float(value) <= 1e-2 for value in chosen(tmp_path, "optimizer.lr"))
    assert len(set(chosen(tmp_path, "optimizer.lr"))) == 4


def test_a_study_in_a_file_remembers_its_trials(say: Say, quick: list[str], tmp_path: Path) -> None:
    import optuna

    storage = f"sqlite:///{tmp_path / 'study.db'}"
    command = ["run", "-m", *quick, *SEARCH, "roles.solver.max_tokens=range(1,9)", f"hydra.sweep.dir={tmp_path / 'sweep'}",
               f"hydra.sweeper.storage={storage}", "hydra.sweeper.study_name=lengths"]  # fmt: skip
    assert say(*command, "hydra.sweeper.n_trials=2").status == 0
    study = optuna.load_study(study_name="lengths", storage=storage)
    left = study.ask()  # what a killed command leaves: a trial that was asked for and never told
    left.suggest_int("roles.solver.max_tokens", 1, 8)
    said = say(*command)
    assert (said.status, said.err) == (0, "")
    study = optuna.load_study(study_name="lengths", storage=storage)
    assert [t.state.name for t in study.trials] == ["COMPLETE"] * 4
    asked = [t.params["roles.solver.max_tokens"] for t in study.trials]
    assert [int(value) for value in chosen(tmp_path / "sweep", "roles.solver.max_tokens")] == asked
    assert [t.value for t in study.trials] == values(tmp_path / "sweep")
    assert json.loads((tmp_path / "sweep" / "jobs" / "2.json").read_text())["value"] == study.trials[2].value


@pytest.mark.parametrize("override, expected", [
    ("a=1,2,3", "CategoricalDistribution(choices=(1, 2, 3))"),
    ("a=x,'y z',null", "CategoricalDistribution(choices=('x', \"'y z'\", 'null'))"),
    ("a=range(1,10,3)", "IntDistribution(high=7, log=False, low=1, step=3)"),
    ("a=range(0.5,1.5,0.25)", "FloatDistribution(high=1.25, log=False, low=0.5, step=0.25)"),
    ("a=interval(0,1.5)", "FloatDistribution(high=1.5, log=False, low=0.0, step=None)"),
    ("a=interval(2,9)", "FloatDistribution(high=9.0, log=False, low=2.0, step=None)"),
    ("a=int(interval(2,9))", "IntDistribution(high=9, log=False, low=2, step=1)"),
    ("a=tag(log,int(interval(1,100)))", "IntDistribution(high=100, log=True, low=1, step=1)"),
    ("a=tag(log,interval(1e-5,1e-3))", "FloatDistribution(high=0.001, log=True, low=1e-05, step=None)"),
])
def test_every_kind_of_sweep_is_searched_over_exactly_its_values(override: str, expected: str) -> None:
    from selfevo.sweeps.optuna_search import search_space

    assert {k: str(v) for k, v in search_space([override]).items()} == {"a": expected}


def test_fixed_overrides_keep_their_place_and_later_ones_rule() -> None:
    from selfevo.sweeps.optuna_search import search_space

    space = search_space(["b=1,2", "+experiment=x", "b=3", "~c", "d='a b'"])
    assert space == {"b": "b=3", "+experiment": "+experiment=x", "~c": "~c", "d": "d='a b'"}


def test_a_grid_holds_every_value_and_refuses_what_cannot_be_counted() -> None:
    from selfevo.sweeps.optuna_search import grid, search_space

    space = search_space(["a=range(1,10,3)", "b=x,y", "c=range(0,1,0.25)", "d=interval(0,1.5)"])
    assert grid("a", space["a"]) == [1, 4, 7]
    assert grid("b", space["b"]) == ["x", "y"]
    assert grid("c", space["c"]) == [0.0, 0.25, 0.5, 0.75]
    with pytest.raises(UserError, match="d: hydra/sweeper/sampler=grid needs values that can be counted"):
        grid("d", space["d"])


@pytest.mark.parametrize("setting, line", [
    ("hydra.sweeper.direction=maximise", "hydra.sweeper.direction: 'maximise'; did you mean 'maximize'? (valid: maximize, minimize)"),
    ("hydra.sweeper.n_trials=0", "hydra.sweeper.n_trials must be at least 1, not 0"),
    ("hydra.sweeper.n_trials=few", "hydra.sweeper.n_trials=few: Value 'few' of type 'str' could not be converted to Integer"),
    ("metric=null", "metric: names what hydra/sweeper=optuna optimises; give it as in metric=eval/chain_sum/pass@1"),
    ("hydra/sweeper/sampler=tpr", "hydra/sweeper/sampler: no choice 'tpr'; did you mean 'tpe'?"),
])
def test_a_search_that_makes_no_sense_is_refused_in_one_line(say: Say, quick: list[str], tmp_path: Path, setting: str, line: str) -> None:
    said = say("run", "-m", *quick, *SEARCH, "seed=1,2", setting, f"hydra.sweep.dir={tmp_path}")
    assert said.status == 2
    assert said.line.startswith(line)
    assert not (tmp_path / "0").exists()


@pytest.mark.parametrize("sampler", ["tpe", "random", "grid", "nsgaii", "qmc"])
def test_every_sampler_without_further_packages_starts(sampler: str) -> None:
    from omegaconf import OmegaConf

    from hydra_plugins.selfevo_sweeps._optuna import SAMPLERS
    from selfevo.sweeps.optuna_search import Search, search_space

    search = Search(OmegaConf.create({**SAMPLERS[sampler], "seed": None}), "maximize", None, None, 4, 2, 1.0, {}, None)
    search.config = OmegaConf.create({"seed": 3})
    made, most = search._sampler(search_space(["a=range(0,6)", "b=x,y"]))
    assert type(made).__name__ == SAMPLERS[sampler]["_target_"].rpartition(".")[2]
    assert most == (12 if sampler == "grid" else None)
