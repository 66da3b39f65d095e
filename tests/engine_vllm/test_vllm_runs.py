"""Whole runs with engine=vllm: after each update the sampler's weights are the learner's."""

from __future__ import annotations

import pytest
from as_user import TINY, metrics, start
from real_runs import log_gaps, run_in

pytestmark = pytest.mark.scale
ENGINE = ["engine=vllm", "engine.eager=true", "engine.cache_gib=0.25", "engine.max_batch=32"]
CORRECTED = ["optimizer.objective.pg.old=old", "+optimizer.objective.pg.truncate=2.0"]


@pytest.fixture(autouse=True)
def _room(running):
    """A process has room for one vLLM: the session's makes way for that of a run."""
    running.close("in-process")


@pytest.mark.parametrize(
    "mode, corrected", [("in-process", []), ("in-process", CORRECTED), ("server", CORRECTED)], ids=["plain", "corrected", "server"]
)
def test_in_every_iteration_the_samplers_log_probs_are_the_learners(tmp_path, mode, corrected):
    run = run_in(tmp_path / "run", [*TINY, *ENGINE, f"engine.mode={mode}", "scale.iterations=3", "optimizer.lr=2e-3", *corrected])
    gaps = run.metric("train", "train/sampler_gap")
    assert len(gaps) == 3
    assert max(gaps) < 1e-3
    assert run.metric("train", "train/grad_norm")[0] > 0
    policy = run.policy
    assert policy.name == "000003"
    assert run.run.world.engines[""]._holding is None


def test_ranks_that_train_together_sample_from_one_server(tmp_path):
    root = tmp_path / "run"
    launcher = ["launcher=torchrun", "launcher.processes=2"]
    process = start("run", *TINY, *ENGINE, "engine.mode=server", *launcher, f"hydra.run.dir={root}")
    _, err = process.communicate(timeout=900)
    assert process.returncode == 0, err
    gaps = [m["train/sampler_gap"] for _, stage, m in metrics(root) if stage == "train"]
    assert len(gaps) == 2 and max(gaps) < 1e-3


def test_several_policies_and_versions_take_turns_in_one_engine(tmp_path):
    """The solver's replies are scored under the base, after each update: two sets of weights of one architecture."""
    overrides = ["optimizer.ema=0.5", "+roles.average={policy: solver@ema, prompt: solve, max_tokens: 16}"]
    stage = "+stages.look={kind: rollout, role: average, tasks: curriculum, n: 2, group: 2}"
    base = ["+roles.first={policy: solver@base, prompt: solve, max_tokens: 16}"]
    other = "+stages.first={kind: rollout, role: first, tasks: curriculum, n: 2, group: 2}"
    loop = "loop.main.do=[rollout,score,train,look,first]"
    run = run_in(tmp_path / "run", [*TINY, *ENGINE, "optimizer.lr=2e-3", *overrides, stage, *base, other, loop])
    assert max(run.metric("train", "train/sampler_gap")) < 1e-3
    assert {row.trajectory.policy for row in run.rows("main.1", "look")} == {"solver@ema"}


@pytest.mark.parametrize("mode", ["in-process", "server"])
def test_with_overlap_the_engine_takes_turns_between_the_old_weights_and_the_new(tmp_path, mode):
    """The early rollout under the version before the update, the evaluation beside it under the one after it."""
    overlap = ["scale.staleness=1", "scale.iterations=3", "optimizer.lr=2e-3", "checkpoint.every=1"]
    run = run_in(tmp_path / "run", [*TINY, *ENGINE, f"engine.mode={mode}", *overlap])
    for stage, path, version, other in (("rollout", "main.2", 1, 2), ("evaluate", "main.1", 2, 1)):
        turns = [turn for row in run.rows(path, stage) for turn in row.trajectory.turns]
        gaps = [float(log_gaps(run.root / f"policies/solver/{v:06d}", turns).abs().max()) for v in (version, other)]
        assert gaps[0] < 1e-3 < gaps[1], (stage, gaps)
