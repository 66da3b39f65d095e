"""The benchmarks of generation, training and GRPO run at their small sizes, and both sides of each did the same work."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """Figures by topic, measured without vLLM."""
    folder = tmp_path_factory.mktemp("benchmarks")
    command = [sys.executable, "-m", "benchmarks", "generation", "training", "grpo", "--quick", "--json", str(folder / "out.json")]
    environment = {**os.environ, "SELFEVO_VLLM_ENV": str(folder / "nothing"), "COLUMNS": "200"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((folder / "out.json").read_text())["figures"]


@pytest.mark.slow
def test_generation_gives_the_tokens_that_were_asked_for_on_both_sides(figures):
    compared = [f for f in figures["generation"] if f["beside"].startswith("transformers")]
    assert len(compared) == 2
    for f in compared:
        d = f["detail"]
        assert d["ours_tokens"] == d["transformers_tokens"] == d["asked_tokens"] > 0
        assert f["ratio"] > 0


@pytest.mark.slow
def test_without_vllm_its_figures_say_how_to_get_it(figures):
    missing = [f for f in figures["generation"] if f["beside"].startswith("vllm")]
    assert missing
    for f in missing:
        assert f["ratio"] is None and f["met"] is None and "make bench-peers" in f["note"]


@pytest.mark.slow
def test_training_takes_the_same_step_as_trl_on_every_token(figures):
    (f,) = [f for f in figures["training"] if f["beside"].startswith("TRL")]
    d = f["detail"]
    assert d["trained_tokens"] == d["reply_tokens"] == d["products"]["own"]["outputs"] == d["products"]["shared"]["outputs"]
    assert d["products"]["own"]["tokens"] == d["prompt_tokens"] + d["reply_tokens"] - d["rows"]
    assert d["apart"]["loss"] < 1e-5 and d["apart"]["norm"] < 1e-5


@pytest.mark.slow
def test_grpo_trains_on_what_was_asked_for_and_its_first_update_is_trls(figures):
    d = figures["grpo"][0]["detail"]
    for side in ("ours", "trl"):
        assert all(sum(r["replies"]) == d["asked"] and len(r["ended"]) == d["updates"] for r in d[side])
    apart = [f for f in figures["grpo"] if "apart" in f["what"]]
    assert len(apart) == 4
    for f in apart:
        assert f["ratio"] < 1e-5 and f["met"] is True
    assert all(abs(f["ours"]) > 1e-3 for f in apart if "older" in f["what"])  # something was compared
