"""Two ranks under DeepSpeed ZeRO make the version that one process makes, and their checkpoints are one format."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.scale

SUPPORT = Path(__file__).parents[1] / "support"
RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEPS = 10
SEVERAL = {"mini_batch": 4, "epochs": 2, "ema": 0.5, "gradient_checkpointing": True}
HOW = [(0, "none"), (1, "none"), (2, "none"), (3, "none"), (1, "optimizer"), (2, "optimizer"), (3, "all")]
STAGES = (1, 2, 3)

Found = dict[str, list[dict[str, Any]]]


def run(command: list[str], folder: Path) -> None:
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SUPPORT), "DS_ACCELERATOR": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900, cwd=folder)
    assert done.returncode == 0, done.stderr[-3000:]


def start(folder: Path, processes: int, trainings: dict[str, dict[str, Any]]) -> Found:
    """What each rank ended with, training by training."""
    for name, settings in trainings.items():
        whole = {"stage": 0, "offload": "none", "steps": STEPS, "dtype": "float32", "start": None, **settings}
        (folder / f"{name}.json").write_text(json.dumps(whole))
    run([sys.executable, *(RANKS if processes > 1 else []), str(SUPPORT / "zero_training.py"), str(folder), *trainings], folder)
    return {name: [torch.load(folder / f"{name}.{rank}", weights_only=False) for rank in range(processes)] for name in trainings}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Found:
    """All trainings, in three starts of processes."""
    folder = tmp_path_factory.mktemp("zero")
    alone = start(folder, 1, {
        "alone": {}, "alone_half": {"steps": STEPS // 2}, "alone_several": {"steps": 2, "learner": SEVERAL},
        "alone_bf16": {"steps": 3, "dtype": "bfloat16"},
    })  # fmt: skip
    two = start(folder, 2, {
        **{f"two_{stage}_{offload}": {"stage": stage, "offload": offload} for stage, offload in HOW},
        **{f"half_{stage}": {"stage": stage, "steps": STEPS // 2} for stage in STAGES},
        **{f"rest_{stage}": {"stage": stage, "steps": STEPS - STEPS // 2, "start": "alone_half"} for stage in STAGES},
        **{f"several_{stage}": {"stage": stage, "steps": 2, "learner": SEVERAL} for stage in STAGES},
        **{f"bf16_{stage}": {"stage": stage, "steps": 3, "dtype": "bfloat16"} for stage in STAGES},
        **{f"refused_{stage}": {"stage": stage, "refused": STEPS // 2} for stage in STAGES},
        "live_3": {"stage": 3, "live": True},
    })  # fmt: skip
    end = start(folder, 1, {f"end_{stage}": {"steps": STEPS - STEPS // 2, "start": f"half_{stage}"} for stage in STAGES})
    return {**alone, **two, **end}


def apart(one: dict[str, Any], two: dict[str, Any]) -> float:
    return max(float((one["weights"][n] - two["weights"][n]).abs().max()) for n in one["weights"])


@pytest.mark.parametrize("stage, offload", HOW)
def test_losses_and_weights_of_two_ranks_are_those_of_one(found: Found, stage: int, offload: str) -> None:
    alone, ranks = found["alone"][0], found[f"two_{stage}_{offload}"]
    for rank in ranks:
        assert rank["losses"] == pytest.approx(alone["losses"], rel=1e-5, abs=1e-5)
        assert rank["norms"] == pytest.approx(alone["norms"], rel=1e-5)
        assert apart(rank, alone) < 1e-5
    assert apart(ranks[0], ranks[1]) == 0.0


@pytest.mark.parametrize("stage", STAGES)
def test_a_checkpoint_of_two_ranks_goes_on_on_one_and_the_other_way_round(found: Found, stage: int) -> None:
    alone, half = found["alone"][0], found[f"half_{stage}"][0]
    assert half["state"]["learned"]["weights"]["moments"].keys() == alone["state"]["learned"]["weights"]["moments"].keys()
    for name in (f"end_{stage}", f"rest_{stage}"):
        assert found[name][0]["losses"] == pytest.approx(alone["losses"][STEPS // 2 :], rel=1e-5, abs=1e-5), name
        assert apart(found[name][0], alone) < 1e-5, name


@pytest.mark.parametrize("name", [*(f"refused_{stage}" for stage in STAGES), "live_3"])
def test_an_update_that_is_refused_and_a_term_that_reads_the_policy_itself_change_nothing(found: Found, name: str) -> None:
    for rank in found[name]:
        assert rank["losses"] == pytest.approx(found["alone"][0]["losses"], rel=1e-5, abs=1e-5)
        assert apart(rank, found["alone"][0]) < 1e-5


@pytest.mark.parametrize("stage", STAGES)
def test_an_update_of_several_steps_with_an_average_is_that_of_one_process(found: Found, stage: int) -> None:
    one, two = found["alone_several"][0], found[f"several_{stage}"][0]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5, abs=1e-5)
    assert apart(one, two) < 1e-5
    for name, value in one["state"]["learned"]["ema"].items():
        assert torch.allclose(value, two["state"]["learned"]["ema"][name], atol=1e-5), name


@pytest.mark.parametrize("stage", STAGES)
def test_bfloat16_keeps_float32_masters(found: Found, stage: int) -> None:
    one, two = found["alone_bf16"][0], found[f"bf16_{stage}"][0]
    assert two["losses"] == pytest.approx(one["losses"], rel=2e-2, abs=2e-2)
    masters = two["state"]["learned"]["weights"]["masters"]
    assert masters.keys() == one["state"]["learned"]["weights"]["masters"].keys()
    for name, value in masters.items():
        assert value.dtype == torch.float32
        assert torch.equal(value.bfloat16(), two["weights"][name.removeprefix("model.")]), name


@pytest.fixture(scope="module")
def bytes_per_parameter(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict[str, float]]]:
    """Between two micro-batches and after a step, on each of two ranks."""
    folder = tmp_path_factory.mktemp("memory")
    run([sys.executable, *RANKS, str(SUPPORT / "zero_memory.py"), str(folder / "held"), "0", "1", "2", "3"], folder)
    out = {}
    for stage in (0, *STAGES):
        found = [json.loads((folder / f"held.{stage}.{rank}").read_text()) for rank in range(2)]
        out[stage] = [{key: f[key] / f["parameters"] for key in ("between", "after")} for f in found]
    return out


@pytest.mark.parametrize("stage, gradients, rest", [
    (0, 4, 4 + 8),                       # weights and moments
    (1, 4, 4 + (4 + 8) / 2),             # DeepSpeed keeps masters of float32 weights too
    (2, 4 / 2, 4 + (4 + 8) / 2),
    (3, 4 / 2, (4 + 4 + 8) / 2),         # masters too; the policy's own weights have no memory meanwhile
])  # fmt: skip
def test_memory_of_a_rank_is_what_theory_says(
    bytes_per_parameter: dict[int, list[dict[str, float]]], stage: int, gradients: float, rest: float
) -> None:
    for rank in bytes_per_parameter[stage]:
        assert rank["between"] == pytest.approx(gradients + rest, rel=0.1)
