"""The catalogue reads defaults lists by itself: what it composes is what Hydra composes."""

from __future__ import annotations

import pytest

from selfevo.catalogue.composing import Composition
from selfevo.catalogue.files import Tree
from selfevo.packaged import configs
from selfevo.spec import compose
from selfevo.spec.problems import Notes
from selfevo.spec.resolve import resolve

NAMES = Tree().choices("experiment")
SOME = ["sec", "tiny/sec", "agent0", "tiny/rlccf", "hgm", "qwen3_4b/dapo", "quickstart"]


def same(overrides: list[str], tree: Tree) -> None:
    from omegaconf import OmegaConf

    ours, theirs = Composition(tree, overrides), compose(overrides)
    assert ours.merged() == OmegaConf.to_container(theirs, resolve=False)
    assert repr(ours.resolved()) == repr(resolve(theirs, Notes()))


@pytest.mark.parametrize("name", SOME)
def test_an_experiment_composes_as_hydra_composes_it(name: str, tree: Tree) -> None:
    same([f"experiment={name}"], tree)


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in NAMES if n not in SOME])
def test_every_experiment_composes_as_hydra_composes_it(name: str, tree: Tree) -> None:
    same([f"experiment={name}"], tree)


@pytest.mark.parametrize("overrides", [
    ["experiment=quickstart", "optimizer=rloo", "optimizer.lr=1e-4", "scale=tiny"],
    ["experiment=tiny/sec", "curriculum.tau=0.5", "stages.train=null"],
])
def test_choices_and_keys_typed_after_it_count_as_hydra_counts_them(overrides: list[str], tree: Tree) -> None:
    same(overrides, tree)


def test_there_are_no_other_packages_than_the_tests_meet() -> None:
    headers = {line for f in configs().rglob("*.yaml") for line in f.read_text().splitlines()[:3] if "@package" in line}
    assert headers == {"# @package _global_"}
