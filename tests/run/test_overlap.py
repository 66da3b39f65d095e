"""A rollout that runs ahead computes what its versions say, whatever the thread beside it does, and a resume repeats it."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import as_user
import pytest
from kill_and_resume import SHORT, difference, fingerprint, finish, start
from real_runs import Finished, log_gaps, run_in

from selfevo import spec
from selfevo.errors import Stopped, UserError
from selfevo.observer import Observer
from selfevo.records import Row
from selfevo.running import execute

SMALL = [
    "scale=tiny", "scale.tasks=3", "scale.group=3", "scale.max_tokens=48", "scale.iterations=3", "task.levels=[1,2]",
    "scale.eval_tasks=4", "scale.eval_samples=1", "optimizer.lr=1e-3", "optimizer.objective.kl=null", "scale.staleness=1",
]  # fmt: skip
MOMENTS = {3: "score", 4: "train", 5: "evaluate", 6: "the early rollout", 8: "the second train", 9: "evaluate", 10: "the last rollout"}
"""Committed lines after which runs are cut: 1 is the evaluation at the start, and each iteration commits four."""


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
    trajectories = {r.trajectory.id: r.trajectory for r in early.rows("main.2", "rollout")}
    table = early.run.store.read_table("tables/main.2/train.parquet").to_pylist()
    assert table
    turns = []
    for row in table:
        (turn,) = trajectories[row["id"]].turns
        assert dict(row["arrays"])["logp:sampler"] == list(turn.logprobs)
        if dict(row["numbers"])["outcome"] != 0:  # what moves nothing is not passed through the model
            turns.append(turn)
    ratios = log_gaps(early.root / "policies/solver/000002", turns).exp()
    line = next(m["metrics"] for m in early.lines if (m["path"], m["stage"]) == ("main.2", "train"))
    assert line["train/pg/ratio"] == pytest.approx(float(ratios.mean()), abs=1e-5)
    assert float((ratios - 1).abs().max()) > 1e-3


def test_the_rollout_and_the_training_wait_for_each_other(tmp_path):
    """The rollout of the second iteration goes on only once the training of the first has begun, and the other way round."""
    gate = f"folder: {tmp_path}, path"
    parts = [
        f"rollout={{_target_: meeting.MeetsTraining, {gate}: main.1}}",
        f"optimizer.samples.turns={{_target_: meeting.MeetsRollout, {gate}: main.0}}",
    ]
    met = run_in(tmp_path / "run", [*SMALL, *parts, "scale.iterations=2"])
    assert sampled_by(met, "main.1") == {"solver@000000"}
    assert [line["stage"] for line in met.lines if line["path"] == "main.0"] == ["rollout", "score", "train", "evaluate"]


def test_seconds_beside_others_are_told_and_the_rest_is_no_more_than_the_wall(early, late):
    (end,) = [e for e in early.run.store.manifest if e["stage"] == "end"]
    spent = dict(end["seconds"])
    total, beside = spent.pop("total"), spent.pop("overlapped")
    told = [line["metrics"].get("time/overlapped") for line in early.lines if line["stage"] == "rollout"]
    assert told[0] is None and beside == pytest.approx(sum(told[1:]), abs=1e-3)
    assert sum(spent.values()) - beside <= total
    assert "overlapped" not in late.run.store.entry("", "end")["seconds"]


class Cut(Exception):
    """Stands for a kill: nothing of the run gets to write anything after it."""


class CutAfter(Observer):
    """Ends the process's work right after the n-th committed line."""

    def __init__(self, n):
        self.left = n

    def line(self, line):
        self.left -= 1
        if self.left == 0:
            raise Cut


class InterruptAfter(CutAfter):
    """Presses Ctrl-C there."""

    def line(self, line):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGINT)


def early_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith("early ")]


RESUMED = {
    "each version kept": ["curriculum=window"],
    "one version kept": ["curriculum=mixture", "checkpoint.keep=1"],
    "every second version": ["curriculum=mixture", "checkpoint.every=2"],
    "none before the end": ["curriculum=by_level", "checkpoint.every=9"],
    "adapters": ["+model.lora={_target_: selfevo.models.Lora, rank: 2}", "checkpoint.every=2"],
    "a critic": ["optimizer=ppo", "optimizer.objective.pg.old=sampler", "checkpoint.every=2"],
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESUMED)
def test_a_run_cut_after_any_stage_ends_as_one_that_never_was(kind, tmp_path):
    checked = spec.read([*SMALL, *RESUMED[kind]], [])
    expected = facts(run_in(tmp_path / "whole", [*SMALL, *RESUMED[kind]]).root)
    for n in MOMENTS:
        with pytest.raises(Cut):
            execute(checked, tmp_path / str(n), observers=[CutAfter(n)])
        assert not early_threads()
        execute(checked, tmp_path / str(n), resume=True)
        assert facts(tmp_path / str(n)) == expected, f"cut after line {n}"


@pytest.mark.slow
def test_a_killed_run_samples_ahead_again_from_the_old_version(tmp_path):
    """Killed as soon as an update is committed: the early rollout, from the version before it, is lost."""
    overrides = [*SHORT, "scale.staleness=1", "curriculum=mixture"]
    finish(tmp_path / "whole", overrides)
    for at in ("main.0", "main.1"):
        root = tmp_path / at
        process = start(root, overrides)
        while process.poll() is None and not (root / f"tables/{at}/train.parquet").exists():
            time.sleep(0.01)
        process.kill()
        process.communicate()
        manifest = (root / "manifest.jsonl").read_text().splitlines()
        assert json.loads(manifest[-1])["path"] == at
        finish(root, overrides)
        assert difference(fingerprint(tmp_path / "whole"), fingerprint(root)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("every", [1, 9])
def test_a_run_stopped_by_ctrl_c_goes_on_as_one_that_never_was(every, tmp_path):
    """Wherever it stops, the early rollout is dropped, and sampled again from the version before: a stop keeps that on disk."""
    overrides = [*SMALL, "curriculum=mixture", f"checkpoint.every={every}"]
    checked = spec.read(overrides, [])
    expected = facts(run_in(tmp_path / "whole", overrides).root)
    for n in MOMENTS:
        root = tmp_path / str(n)
        with pytest.raises(Stopped):
            execute(checked, root, observers=[InterruptAfter(n)])
        assert not early_threads()
        resumed = execute(checked, root, resume=True)
        got = facts(root)
        assert (got["metrics"], got["outputs"]) == (expected["metrics"], expected["outputs"]), f"stopped after line {n}"
        newest = f"policies/solver/{resumed.world.live('solver').version.id}/model.safetensors"
        assert got["policies"][newest] == expected["policies"][newest]


def test_an_error_in_the_early_rollout_ends_the_run_where_the_rollout_stands(tmp_path):
    fails = [*SMALL, f"rollout={{_target_: meeting.FailsWhile, file: {tmp_path / 'stone'}, path: main.1}}", "scale.iterations=2"]
    checked = spec.read(fails, [])
    (tmp_path / "stone").touch()
    with pytest.raises(UserError, match=r"^stone is in the way$"):
        execute(checked, tmp_path / "run")
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert (last["path"], last["stage"]) == ("main.0", "evaluate")
    (tmp_path / "stone").unlink()
    execute(checked, tmp_path / "run", resume=True)
    assert facts(tmp_path / "run") == facts(run_in(tmp_path / "whole", fails).root)


@pytest.mark.slow
def test_an_engine_for_one_caller_gives_the_same_numbers_and_bills_each_stage_for_its_own(early, tmp_path):
    alone = run_in(tmp_path / "run", [*SMALL, "+engines.alone={_target_: one_at_a_time.OneAtATime}", "+roles.solver.engine=alone"])
    for line, other in zip(facts(alone.root)["metrics"], facts(early.root)["metrics"], strict=True):
        asked = line[3].pop("engine/alone/requests", None)
        assert asked == {"rollout": 9.0, "evaluate": 4.0}.get(line[1])
        assert line == other
    assert replies(alone.rows("main.2", "rollout")) == replies(early.rows("main.2", "rollout"))
    assert policies(alone.root) == policies(early.root)


@pytest.mark.slow
def test_a_second_ctrl_c_ends_a_run_whose_early_rollout_never_would(tmp_path):
    root, stuck = tmp_path / "run", f"rollout={{_target_: meeting.MeetsTraining, folder: {tmp_path}, path: main.1}}"
    process = as_user.start("run", "experiment=quickstart", *SMALL, stuck, f"hydra.run.dir={root}")
    while process.poll() is None and not ((tmp_path / "rollout").exists() and as_user.committed(root)[-1:] == ["main.0/evaluate"]):
        time.sleep(0.05)
    for _ in range(2):
        process.send_signal(signal.SIGINT)
        time.sleep(0.5)
    _, err = process.communicate(timeout=50)
    assert process.returncode == 3 and err.splitlines()[-1].startswith("selfevo: stopped at the last commit; continue with: selfevo resume")
    (tmp_path / "training").touch()
    said = as_user.start("resume", str(root))
    said.communicate(timeout=240)
    assert said.returncode == 0 and as_user.committed(root)[-1] == "main.2/evaluate"


@pytest.mark.slow
def test_with_an_engine_of_its_own_a_run_of_two_ranks_overlaps_as_one_process_does(tmp_path):
    own = ["+engines.alone={_target_: one_at_a_time.OneAtATime}", "+roles.solver.engine=alone"]
    ranks = {"one": [], "two": ["launcher=torchrun", "launcher.processes=2", "launcher.threads=1"]}
    for name, launcher in ranks.items():
        process = as_user.start("run", *SMALL, *own, *launcher, f"hydra.run.dir={tmp_path / name}")
        _, err = process.communicate(timeout=240)
        assert (process.returncode, err) == (0, "")
    for (*place, two), (*same, one) in zip(as_user.metrics(tmp_path / "two"), as_user.metrics(tmp_path / "one"), strict=True):
        assert place == same and two == pytest.approx(one, rel=1e-3, abs=1e-5), place
