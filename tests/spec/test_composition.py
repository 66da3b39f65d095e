"""Composition: Hydra's rules, what overrides may leave out, and the way through spec.yaml and back."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from selfevo import spec
from selfevo.errors import UserError
from selfevo.roles import Role
from selfevo.spec.overrides import prepare
from selfevo.spec.sources import Configs


@pytest.fixture(scope="module")
def default() -> spec.RunSpec:
    return spec.read([])


def test_the_base_config_is_the_online_loop(default: spec.RunSpec) -> None:
    assert list(default.stages) == ["rollout", "score", "train", "evaluate"]
    assert [b.name for b in default.loop.do] == ["start", "main"]  # type: ignore[union-attr]
    assert default.roles["solver"] == Role("solver", "solve", max_tokens=default.raw["scale"]["max_tokens"])
    assert set(default.sources) == {"task", "curriculum"}


def test_a_choice_of_sizes_rules_over_an_experiments_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nscale: {iterations: 700, tasks: 9}\nname: mine\n")
    tiny = yaml.safe_load((spec.configs() / "scale" / "tiny.yaml").read_text())
    assert spec.read(["experiment=mine"], [str(tmp_path)]).raw["scale"]["iterations"] == 700
    for order in (["experiment=mine", "scale=tiny"], ["scale=tiny", "+experiment=mine"], ["+experiment=mine", "+scale=tiny"]):
        assert spec.read(order, [str(tmp_path)]).raw["scale"] == tiny


def test_a_tiny_experiment_is_the_experiment_at_tiny_sizes() -> None:
    big, tiny = spec.read(["experiment=quickstart"]).raw, spec.read(["experiment=tiny/quickstart"]).raw
    assert tiny["scale"]["iterations"] < big["scale"]["iterations"]
    assert {k for k in big if big[k] != tiny[k]} <= {"name", "scale", "stages", "roles", "loop", "eval"}


def test_a_key_that_only_the_constructor_knows_may_be_set(default: spec.RunSpec) -> None:
    assert "ema" not in default.raw["optimizer"]
    assert spec.read(["optimizer.ema=0.99"]).raw["stages"]["train"]["optimizer"]["ema"] == 0.99


def test_groups_that_the_base_does_not_list_need_no_prefix() -> None:
    prepared = prepare(Configs(), ["experiment=quickstart", "+optimizer=grpo", "seed=3"])
    assert not prepared.problems
    assert prepared.hydra == ["+experiment=quickstart", "optimizer=grpo", "seed=3"]


def test_sweeps_keep_their_values_for_hydra_and_are_checked_by_their_first() -> None:
    prepared = prepare(Configs(), ["seed=1,2", "scale.tasks=range(4,9)", "experiment=glob(quick*)"], multirun=True)
    assert not prepared.problems
    assert set(prepared.hydra) == {"+experiment=glob(quick*)", "seed=1,2", "scale.tasks=range(4,9)"}
    assert (prepared.groups, prepared.values) == (["+experiment=quickstart"], ["seed=1", "scale.tasks=4"])


def test_a_wrong_choice_anywhere_in_a_sweep_is_found() -> None:
    (problem,) = prepare(Configs(), ["scale=tiny,smal"], multirun=True).problems
    assert problem.message.startswith("no choice 'smal'; did you mean 'small'?")


def test_a_second_policy_from_a_group_needs_no_prefix() -> None:
    made = spec.read(["model@policies.judge=tiny"])
    assert made.policies["judge"]["_target_"] == "selfevo.models.Pretrained"


def test_null_takes_a_stage_out(default: spec.RunSpec) -> None:
    assert "evaluate" not in spec.read(["stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]"]).stages


def test_spec_yaml_alone_gives_the_same_spec_back(default: spec.RunSpec, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    file.write_text(spec.dump(default))
    again = spec.load(file)
    assert again == default
    assert spec.dump(again) == spec.dump(default)


def test_loading_where_there_is_no_spec_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no such file \(a run directory holds a spec.yaml\)"):
        spec.load(tmp_path / "spec.yaml")


def test_nodes_of_a_checked_spec_build(default: spec.RunSpec) -> None:
    from selfevo.stages import KINDS

    for node in default.stages.values():
        assert isinstance(spec.build(node), KINDS[node["kind"]])
    assert spec.build(default.sources["curriculum"]).sample(2, _Ctx())


class _Ctx:
    """The little of a run's context that a curriculum's draw needs."""

    name, iteration, path = "curriculum", 0, "main.0/rollout"

    def rng(self, *key: object):
        import random

        return random.Random(0)

    def value(self, number: float) -> float:
        return float(number)

    def log(self, name: str, value: float) -> None: ...
