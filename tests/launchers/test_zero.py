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
STEPS = 10


def trained(out: Path, processes: int, **settings: Any) -> list[dict[str, Any]]:
    """What each rank ended with."""
    settings = {"stage": 0, "steps": STEPS, "dtype": "float32", **settings}
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)] if processes > 1 else []
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SUPPORT), "DS_ACCELERATOR": "cpu"}
    command = [sys.executable, *launch, str(SUPPORT / "zero_training.py"), json.dumps(settings), str(out)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, cwd=out.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return [torch.load(f"{out}.{rank}", weights_only=False) for rank in range(processes)]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return trained(tmp_path_factory.mktemp("alone") / "out", 1)[0]


def apart(one: dict[str, Any], two: dict[str, Any]) -> float:
    return max(float((one["weights"][n] - two["weights"][n]).abs().max()) for n in one["weights"])


@pytest.mark.parametrize("stage, offload", [(0, "none"), (1, "none"), (2, "none"), (3, "none"), (2, "optimizer"), (3, "all")])
def test_losses_and_weights_of_two_ranks_are_those_of_one(alone: dict[str, Any], tmp_path: Path, stage: int, offload: str) -> None:
    ranks = trained(tmp_path / "out", 2, stage=stage, offload=offload)
    for rank in ranks:
        assert rank["losses"] == pytest.approx(alone["losses"], rel=1e-5, abs=1e-5)
        assert rank["norms"] == pytest.approx(alone["norms"], rel=1e-5)
        assert apart(rank, alone) < 1e-5
    assert apart(ranks[0], ranks[1]) == 0.0


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_checkpoint_of_two_ranks_goes_on_on_one_and_the_other_way_round(alone: dict[str, Any], tmp_path: Path, stage: int) -> None:
    half = trained(tmp_path / "half", 2, stage=stage, steps=STEPS // 2)
    assert half[0]["state"]["weights"]["moments"].keys() == alone["state"]["weights"]["moments"].keys()
    end = trained(tmp_path / "end", 1, steps=STEPS - STEPS // 2, start=str(tmp_path / "half.0"))[0]
    assert end["losses"] == pytest.approx(alone["losses"][STEPS // 2 :], rel=1e-5, abs=1e-5)
    assert apart(end, alone) < 1e-5
    trained(tmp_path / "first", 1, steps=STEPS // 2)
    end = trained(tmp_path / "rest", 2, stage=stage, steps=STEPS - STEPS // 2, start=str(tmp_path / "first.0"))[0]
    assert end["losses"] == pytest.approx(alone["losses"][STEPS // 2 :], rel=1e-5, abs=1e-5)
    assert apart(end, alone) < 1e-5


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_an_update_of_several_steps_is_that_of_one_process(tmp_path: Path, stage: int) -> None:
    several = {"mini_batch": 4, "epochs": 2, "ema": 0.5}
    one = trained(tmp_path / "one", 1, steps=2, learner=several)[0]
    two = trained(tmp_path / "two", 2, steps=2, stage=stage, learner=several)[0]
    assert two["losses"] == pytest.approx(one["losses"], rel=1e-5, abs=1e-5)
    assert apart(one, two) < 1e-5
    for name, value in one["state"]["ema"].items():
        assert torch.allclose(value, two["state"]["ema"][name], atol=1e-5), name


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_bfloat16_keeps_float32_masters(tmp_path: Path, stage: int) -> None:
    one = trained(tmp_path / "one", 1, steps=3, dtype="bfloat16")[0]
    two = trained(tmp_path / "two", 2, steps=3, stage=stage, dtype="bfloat16")[0]
    assert two["losses"] == pytest.approx(one["losses"], rel=2e-2, abs=2e-2)
    masters = two["state"]["weights"]["masters"]
    assert masters.keys() == one["state"]["weights"]["masters"].keys()
    for name, value in masters.items():
        assert value.dtype == torch.float32
        assert torch.equal(value.bfloat16(), two["weights"][name.removeprefix("model.")]), name
