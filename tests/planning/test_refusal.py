"""What cannot fit is refused in one line that names what would, and what would does."""

from __future__ import annotations

import re

import pytest

from selfevo import cli, spec
from selfevo.errors import UserError
from selfevo.planning.cluster import Cluster
from selfevo.planning.plan import make
from selfevo.planning.preflight import refuse_what_cannot_fit
from selfevo.planning.refusal import refusal

LARGE = ["+experiment=qwen3_4b", "model=qwen3_32b", "launcher.zero=0"]


def test_a_32b_model_without_zero_is_refused_by_run_in_one_line(tmp_path, capsys):
    assert cli.main(["run", *LARGE, f"hydra.run.dir={tmp_path / 'a'}"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    assert err.startswith("selfevo: Qwen/Qwen3-32B does not fit 8 x h100-80g (79 GiB each): training needs ")
    assert not (tmp_path / "a" / "spec.yaml").exists()


@pytest.mark.parametrize("overrides", [
    ["+experiment=qwen3_4b", "launcher.zero=0"],
    ["+experiment=qwen3_4b", "launcher.zero=0", "cluster.gpu=a100-40g"],
    ["+experiment=qwen3_4b", "model=qwen3_8b"],
    ["+experiment=qwen3_4b", "engine.memory_share=0.8"],
    ["+experiment=qwen3_4b", "model=qwen3_8b", "optimizer=dapo", "optimizer.gradient_checkpointing=false"],
    ["model=qwen3_8b", "cluster=1x8"],
    ["model=qwen3_32b", "cluster=1x1", "+model.lora={_target_: selfevo.models.Lora}"],
])  # fmt: skip
def test_the_settings_that_a_refusal_names_make_the_spec_fit(overrides):
    made = spec.read(overrides)
    cluster = spec.build(made.raw["cluster"])
    said = refusal(made, cluster)
    assert said is not None and "\n" not in said
    advice = re.search(r"it fits with ([^;]+); selfevo plan", said)
    assert advice is not None, said
    changed = spec.read([*overrides, *advice[1].split()])
    assert not make(changed, cluster).problems
    assert refusal(changed, cluster) is None


def test_where_nothing_helps_the_line_says_so():
    said = refusal(spec.read(["model=qwen3_32b", "cluster=1x1"]), Cluster(1, 1))
    assert said is not None and "no ZeRO stage, offload, recomputation or engine setting makes it fit" in said


def test_a_machine_without_gpus_and_a_model_of_unknown_shape_refuse_nothing(monkeypatch):
    assert refusal(spec.read(["model=qwen3_32b"]), Cluster(gpus=0, host_memory=8.0)) is None
    assert refusal(spec.read(["model.path=some/model"]), Cluster()) is None
    monkeypatch.setattr("selfevo.planning.machine.CARDS", __import__("pathlib").Path("/nowhere"))
    refuse_what_cannot_fit(spec.read(["model=qwen3_32b"]))


def test_the_first_run_is_not_held_up_by_a_described_cluster():
    assert refusal(spec.read(["+experiment=quickstart"]), Cluster(1, 1)) is None


def test_a_launcher_with_an_address_is_not_judged_by_this_machine(monkeypatch):
    monkeypatch.setattr("selfevo.planning.machine.gpus", lambda: [("H100 80GB", 79.0)])
    refuse_what_cannot_fit(spec.read(["model=qwen3_32b", "launcher=ray", "launcher.address=first:6379"]))
    with pytest.raises(UserError, match="does not fit"):
        refuse_what_cannot_fit(spec.read(["model=qwen3_32b"]))
