"""A single job goes to Hydra with the config that was checked; what it is given does not differ from what Hydra's main would give."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from selfevo.commands import run
from selfevo.spec.sources import BASE, Configs

Seen = list[tuple[Any, Any]]


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """The config and Hydra's own node of every job, which then ends."""
    found: Seen = []
    monkeypatch.setattr(run, "job", lambda cfg: found.append((OmegaConf.to_container(cfg), OmegaConf.to_container(HydraConfig.get()))))
    return found


@pytest.mark.parametrize("typed, hydras", [
    (["experiment=quickstart"], ["+experiment=quickstart"]),
    (["seed=3", "optimizer.ema=0.9", "scale=tiny", "experiment=quickstart"],
     ["+experiment=quickstart", "+scale=tiny", "seed=3", "++optimizer.ema=0.9"]),
    (["hydra/launcher=basic", "+hydra.job.env_set.A=b", "model@policies.judge=tiny"],
     ["hydra/launcher=basic", "+hydra.job.env_set.A=b", "+model@policies.judge=tiny"]),
])  # fmt: skip
def test_a_job_is_given_what_hydras_main_gives_it(typed: Sequence[str], hydras: Sequence[str], seen: Seen, tmp_path: Path) -> None:
    place = f"hydra.run.dir={tmp_path}/run"
    assert run.main([place, *typed]) == run.through_hydra([place, *hydras]) == 0
    (cfg, hydra), (mains_cfg, mains_hydra) = seen
    assert cfg == mains_cfg
    assert mains_hydra["overrides"]["hydra"].pop() == "hydra.mode=RUN"  # how main tells itself
    assert hydra == mains_hydra


def test_a_config_may_make_it_a_sweep(seen: Seen, tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra: {mode: MULTIRUN, sweeper: {params: {seed: '1,2'}}}\n"
    (tmp_path / "experiment" / "both.yaml").write_text(text)
    assert run.main(["experiment=both", "--config-dir", str(tmp_path), f"hydra.sweep.dir={tmp_path}/sweep"]) == 0
    assert [cfg["seed"] for cfg, _ in seen] == [1, 2]


@pytest.fixture
def compositions(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The overrides of every composition that Hydra was put to."""
    found: list[tuple[str, ...]] = []
    real: Callable[..., Any] = ConfigLoaderImpl._load_configuration_impl

    def noted(self: ConfigLoaderImpl, *args: Any, **named: Any) -> Any:
        found.append(tuple(named["overrides"]))
        return real(self, *args, **named)

    monkeypatch.setattr(ConfigLoaderImpl, "_load_configuration_impl", noted)
    return found


def test_a_config_without_values_of_its_own_is_composed_once(seen: Seen, compositions: list[tuple[str, ...]], tmp_path: Path) -> None:
    assert run.main(["experiment=quickstart", f"hydra.run.dir={tmp_path}/run"]) == 0
    assert compositions == [(f"hydra.run.dir={tmp_path}/run", "+experiment=quickstart")]


def test_what_is_handed_out_once_more_is_a_copy() -> None:
    loader = Configs(again=True).loader
    first = loader.load_configuration(BASE, [], RunMode.RUN)
    kept = copy.deepcopy(first)
    first.seed, first.hydra.verbose = 9, True
    assert loader.load_configuration(BASE, [], RunMode.RUN) == kept
    assert loader.load_configuration(BASE, ["seed=4"], RunMode.RUN).seed == 4


LOADED = """
import sys
from selfevo.preload import preload
thread = preload()
thread.join()
assert "torch" not in sys.modules and "libtorch_cpu.so" in open("/proc/self/maps").read()
import torch
assert torch.ones(2, 3).mm(torch.ones(3, 2)).sum().item() == 12
assert preload() is None
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="loads ahead on Linux only")
def test_the_library_is_there_before_torch_is_imported_and_serves_it() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_process_that_ends_while_it_loads_ends_as_it_would() -> None:
    code = "import sys; from selfevo.preload import preload; preload(); print('said'); sys.exit(2)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (2, "said\n", "")
