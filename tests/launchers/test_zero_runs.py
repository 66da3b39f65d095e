"""A whole run under ZeRO-3: the metrics of one process, and a policy folder that transformers opens."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from as_user import TINY, Said, metrics, start

pytestmark = pytest.mark.scale

SMOOTH = "optimizer.adam_eps=1.0e-3"
"""Adam's step is near the sign of a gradient far above eps, and that of a gradient near 0 is its rounding's; with this it is a smooth
function of the gradient, so that equal gradients give equal weights."""
ZERO = ["launcher=torchrun", "launcher.processes=2", "launcher.threads=1", "launcher.zero=3"]


def said(*arguments: str) -> Said:
    process = start(*arguments)
    out, err = process.communicate(timeout=600)
    return Said(process.returncode, out, err)


def folder(root: Path, version: str) -> dict[str, torch.Tensor]:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(root / "policies" / "solver" / version).state_dict()


def test_a_run_under_stage_3_has_the_metrics_of_one_process_and_saves_whole_policies(tmp_path: Path) -> None:
    alone, divided = tmp_path / "alone", tmp_path / "divided"
    assert said("run", *TINY, SMOOTH, f"hydra.run.dir={alone}").status == 0
    found = said("run", *TINY, SMOOTH, *ZERO, f"hydra.run.dir={divided}")
    assert (found.status, found.err) == (0, "")
    for (path, stage, ours), (_, _, theirs) in zip(metrics(divided), metrics(alone), strict=True):
        kept = ours.keys() - {"train/passed"}  # divided weights are computed with by the modules, with padding
        assert {k: ours[k] for k in kept} == pytest.approx({k: theirs[k] for k in kept}, rel=1e-4, abs=1e-6), (path, stage)
    whole, expected = folder(divided, "000002"), folder(alone, "000002")
    assert whole.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.allclose(whole[name], value, rtol=0, atol=1e-6), name
