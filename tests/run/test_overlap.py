"""A rollout that runs ahead computes what its versions say, whatever the thread beside it does, and a resume repeats it."""

import json
import os
import signal
import threading
from pathlib import Path

import pytest
from real_runs import Finished, run_in
from safetensors.torch import load_file

from selfevo import spec
from selfevo.checkpoints import CHECKPOINT
from selfevo.errors import Stopped, UserError
from selfevo.records import Row
from selfevo.run import Observer, execute

SMALL = [
    "scale=tiny", "scale.tasks=3", "scale.group=3", "scale.max_tokens=48", "scale.iterations=3", "task.levels=[1,2]",
    "scale.eval_tasks=4", "scale.eval_samples=1", "optimizer.lr=1e-3", "optimizer.objective.kl=null", "scale.staleness=1",
]  # fmt: skip
LINES = 1 + 3 * 4


def facts(root: Path) -> dict:
    """All that must be equal: metrics without times, and every committed file by hash."""
    lines = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    metrics = [(m["path"], m["stage"], m["versions"], {k: v for k, v in m["metrics"].items() if k[:5] != "time/"}) for m in lines]
    manifest = [json.loads(line) for line in (root / "manifest.jsonl").read_text().splitlines()]
    outputs = {(e["path"], e["stage"]): e["outputs"] for e in manifest if "kind" in e}
    return {"metrics": metrics, "outputs": outputs, "policies": policies(root)}


def policies(root: Path) -> dict:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted((root / "policies").rglob("*")) if p.is_file()}


def replies(rows: list[Row]) -> list:
    return [(r.trajectory.task.id, [(t.tokens, t.logprobs) for t in r.trajectory.turns]) for r in rows]


def sampled_by(run: Finished, path: str) -> set[str]:
    return {row.trajectory.policy for row in run.rows(path, "rollout")}


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """A run without overlap."""
    return run_in(tmp_path_factory.mktemp("late") / "run", [*SMALL, "scale.staleness=0"])


@pytest.fixture(scope="module")
def early(tmp_path_factory):
    """The same one update behind."""
    return run_in(tmp_path_factory.mktemp("early") / "run", SMALL)


def test_staleness_0_is_the_run_without_overlap_byte_for_byte(late, tmp_path):
    plain = run_in(tmp_path / "run", [*SMALL, "loop.main.ahead=null", "scale.staleness=0"])
    assert facts(plain.root) == facts(late.root)
    assert "rollout/staleness" not in {name for line in late.lines for name in line["metrics"]}


def test_each_rollout_but_the_first_comes_from_the_version_before_the_last_update(early, late):
    assert [sampled_by(early, f"main.{i}") for i in range(3)] == [{"solver@000000"}, {"solver@000000"}, {"solver@000001"}]
    assert [sampled_by(late, f"main.{i}") for i in range(3)] == [{"solver@000000"}, {"solver@000001"}, {"solver@000002"}]
    stale = [line["metrics"].get("rollout/staleness") for line in early.lines if line["stage"] == "train"]
    assert stale == [None, 1.0, 1.0]
    in_force = [line["versions"]["solver"] for line in early.lines if line["stage"] == "rollout"]
    assert in_force == ["000000", "000000", "000001"]


def test_manifest_and_metrics_keep_the_order_of_the_loop(early, late):
    assert [(e["path"], e["stage"]) for e in early.run.store.manifest] == [(e["path"], e["stage"]) for e in late.run.store.manifest]
    assert [(m["path"], m["stage"]) for m in early.lines] == [(m["path"], m["stage"]) for m in late.lines]


def test_two_runs_are_equal_bit_for_bit(early, tmp_path):
    again = run_in(tmp_path / "run", SMALL)
    assert facts(again.root) == facts(early.root)


def test_the_first_iteration_is_that_of_a_run_without_overlap(early, late):
    """Its training and its evaluation ran beside the early rollout."""
    first = [[m for m in facts(run.root)["metrics"] if m[0] in ("start", "main.0")] for run in (early, late)]
    assert len(first[0]) == 5 and first[0] == first[1]


def test_an_early_rollout_is_that_of_weights_that_did_not_move(early, tmp_path):
    """With a learning rate of 0 the second iteration samples from the first weights without any overlap, at the same seeds."""
    still = run_in(tmp_path / "run", [*SMALL, "scale.staleness=0", "scale.iterations=2", "optimizer.lr=0.0"])
    assert replies(early.rows("main.1", "rollout")) == replies(still.rows("main.1", "rollout"))
    assert sampled_by(still, "main.1") == {"solver@000001"}


def test_the_ratio_is_to_the_log_probs_the_early_rollout_was_sampled_with(early):
    import torch
    from transformers import AutoModelForCausalLM

    trajectories = {r.trajectory.id: r.trajectory for r in early.rows("main.2", "rollout")}
    table = early.run.store.read_table("tables/main.2/train.parquet").to_pylist()
    assert table
    model = AutoModelForCausalLM.from_pretrained(early.root / "policies/solver/000002").eval()
    ratios = []
    for row in table:
        (turn,) = trajectories[row["id"]].turns
        assert dict(row["arrays"])["logp:sampler"] == list(turn.logprobs)
        if dict(row["numbers"])["outcome"] == 0:  # what moves nothing is not passed through the model
            continue
        ids = torch.tensor([[*turn.context, *turn.tokens]])
        with torch.no_grad():
            logp = model(ids).logits[0, len(turn.context) - 1 : -1].log_softmax(-1)
        ratios += (logp.gather(1, torch.tensor(turn.tokens)[:, None])[:, 0] - torch.tensor(turn.logprobs)).exp().tolist()
    line = next(m["metrics"] for m in early.lines if (m["path"], m["stage"]) == ("main.2", "train"))
    assert line["train/pg/ratio"] == pytest.approx(sum(ratios) / len(ratios), abs=1e-5)
    assert max(abs(r - 1) for r in ratios) > 1e-3
