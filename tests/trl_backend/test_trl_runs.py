"""Whole runs with TRL as the optimizer: data sets, GRPO on the quickstart's tasks, resuming."""

from __future__ import annotations

import json
import random
import shutil

import pytest
from kill_and_resume import difference, fingerprint, finish, trial
from real_runs import run_in

from selfevo import spec
from selfevo.observer import Observer
from selfevo.running import execute

GRPO = ["experiment=quickstart", "loop=trl_grpo", "optimizer=trl/grpo", "scale=tiny"]


@pytest.fixture
def recorded(tmp_path):
    """Overrides for four sums with a recorded solution, a better and a worse answer each."""
    file = tmp_path / "data.jsonl"
    rows = [{"question": f"{a}+{b}=?", "answer": str(a + b), "solution": f"{a}+{b}={a + b} #### {a + b}", "chosen": f"#### {a + b}",
             "rejected": f"#### {a + b + 1}"} for a, b in ((3, 4), (11, 5), (8, 9), (20, 2))]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = "{question: question, answer: answer, solution: solution, chosen: chosen, rejected: rejected}"
    return ["task=jsonl", f"task.path={file}", f"task.fields={fields}", "curriculum=epochs", "stages.evaluate=null", "loop.start=null",
            "loop.main.do=[data,score,train]", "scale=tiny", "scale.tasks=4"]  # fmt: skip


class Cut(Exception):
    """Stands for a kill."""


class CutAfter(Observer):
    """Ends the process's work right after the n-th committed line."""

    def __init__(self, n):
        self.left = n

    def line(self, line):
        self.left -= 1
        if self.left == 0:
            raise Cut


def ends_the_same_after_any_cut(overrides, tmp_path, every=1):
    checked = spec.read(overrides)
    execute(checked, tmp_path / "whole")
    expected = fingerprint(tmp_path / "whole")
    for n in range(1, len(expected["metrics"]) + 1, every):
        root = tmp_path / f"cut{n}"
        with pytest.raises(Cut):
            execute(checked, root, observers=[CutAfter(n)])
        execute(checked, root, resume=True)
        assert difference(expected, fingerprint(root)) == "", f"cut after line {n}"
        shutil.rmtree(root)


@pytest.mark.slow
def test_a_supervised_fit_of_recorded_solutions_lowers_their_loss(tmp_path, recorded):
    done = run_in(tmp_path / "run", [*recorded, "loop=supervised", "optimizer=trl/sft", "optimizer.lr=3e-4", "scale.iterations=4"])
    losses = done.metric("train", "train/loss")
    assert losses[-1] < losses[0] and done.metric("train", "train/steps") == [1, 2, 3, 4]


@pytest.mark.slow
def test_a_preference_fit_starts_at_the_log_of_two(tmp_path, recorded):
    done = run_in(tmp_path / "run", [*recorded, "loop=preferences", "optimizer=trl/dpo", "optimizer.lr=3e-4", "scale.iterations=4"])
    losses = done.metric("train", "train/loss")
    assert losses[0] == pytest.approx(0.693147, abs=1e-4) and losses[-1] < losses[0]


@pytest.mark.slow
def test_a_reward_model_of_its_own_policy_is_kept(tmp_path, recorded):
    from selfevo.trl.reward_model import rewards

    own = ["+policies.judge=${model}", "stages.train.policy=judge", "optimizer=trl/reward", "optimizer.lr=3e-4"]
    done = run_in(tmp_path / "run", [*recorded, "loop=preferences", *own, "scale.iterations=4"])
    judge = done.run.world.live("judge")
    rows = [[*t.context, *t.tokens] for r in done.rows("main.3", "score") for t in r.trajectory.turns]
    said = rewards(judge, rows)
    assert sum(said[0::2]) > sum(said[1::2])
    again = done.run.world.load_policy("judge")
    again.reload(done.root / "policies/judge" / judge.version.id)
    assert rewards(again, rows) == said


@pytest.mark.slow
def test_grpo_of_trl_runs_on_the_tasks_and_the_suite_of_the_quickstart(tmp_path):
    done = run_in(tmp_path / "trl", GRPO)
    other = run_in(tmp_path / "ours", ["experiment=quickstart", "scale=tiny", "scale.iterations=1"])
    first = [{k: v for k, v in r.lines[0]["metrics"].items() if k.startswith("eval/")} for r in (done, other)]
    assert first[0] == first[1] and len(first[0]) > 3  # the same suite, policy and draws
    assert done.metric("tasks", "rollout/generated_tokens") == [0, 0]
    codec = done.run.world.codec("solver")
    for i in range(2):
        for row in done.rows(f"main.{i}", "tasks"):
            (turn,) = row.trajectory.turns
            assert turn.tokens == () and codec.decode(turn.context).rstrip().endswith(row.trajectory.task.vars["question"])
    for line, entry in ((x, done.run.store.entry(x["path"], "train")) for x in done.lines if x["stage"] == "train"):
        assert entry["tokens"] == line["metrics"]["rollout/generated_tokens"] > 0
        assert line["metrics"]["rollout/trajectories"] == 16 and line["metrics"]["train/tasks"] == 4
    assert done.metric("train", "train/lr") == pytest.approx([2e-3, 2e-4])  # the experiment's schedule
    assert done.policy.name == "000002"


@pytest.mark.slow
@pytest.mark.parametrize("optimizer, loop", [("sft", "supervised"), *((o, "preferences") for o in ("dpo", "kto", "reward"))])
def test_fits_cut_after_any_stage_end_as_if_they_never_were(tmp_path, recorded, optimizer, loop):
    overrides = [*recorded, f"loop={loop}", f"optimizer=trl/{optimizer}", "optimizer.lr=3e-4", "scale.iterations=3", "checkpoint.every=2"]
    ends_the_same_after_any_cut(overrides, tmp_path, every=2)


@pytest.mark.slow
def test_grpo_cut_after_any_stage_ends_as_if_it_never_was(tmp_path):
    ends_the_same_after_any_cut([*GRPO, "scale.iterations=3", "checkpoint.every=2"], tmp_path, every=3)


@pytest.mark.slow
def test_a_launcher_of_one_process_changes_nothing(tmp_path):
    runs = {}
    for name, launcher in (("inline", []), ("torchrun", ["launcher=torchrun"])):
        finish(tmp_path / name, [*GRPO, *launcher])
        runs[name] = fingerprint(tmp_path / name)
    assert difference(runs["inline"], runs["torchrun"]) == ""


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
def test_a_killed_and_resumed_grpo_ends_as_one_that_was_never_killed(tmp_path, seed):
    overrides = [*GRPO, "scale.iterations=3", "checkpoint.every=2"]
    finish(tmp_path / "whole", overrides)
    expected = fingerprint(tmp_path / "whole")
    length = (tmp_path / "whole/manifest.jsonl").stat().st_mtime - (tmp_path / "whole/spec.yaml").stat().st_mtime
    killed, got = trial(tmp_path, "run", 6.0 + random.Random(seed).uniform(0, length), overrides)
    print("killed" if killed else "had already ended")
    assert difference(expected, got) == ""
