"""Every suite config composes and binds; the procedural ones give their sealed tasks."""

from __future__ import annotations

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from selfevo.evals import Suite
from selfevo.spec.check import build

CONFIGS = Path(__file__).parents[2] / "configs"
NAMES = sorted(p.stem for p in (CONFIGS / "eval").glob("*.yaml"))
ON_THE_HUB = {"gsm8k", "math500", "aime24", "tool_calls"}


def suite(name):
    with initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = compose(f"eval/{name}")
    OmegaConf.update(config, "scale", OmegaConf.load(CONFIGS / "scale" / "tiny.yaml"), force_add=True)
    return build(OmegaConf.to_container(config.eval, resolve=True))


@pytest.mark.parametrize("name", NAMES)
def test_suite_configs_bind_without_reading_data(name):
    made = suite(name)
    assert isinstance(made, Suite)
    assert made.name == name


@pytest.mark.parametrize("name", sorted(set(NAMES) - ON_THE_HUB))
def test_procedural_suites_hold_out_distinct_tasks(name):
    made = suite(name)
    assert len(made.held_out) == made.n == len(made.tasks())
    assert [t.id for t in suite(name).tasks()] == [t.id for t in made.tasks()]
