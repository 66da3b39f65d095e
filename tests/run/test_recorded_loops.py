"""Datasets of solutions and of pairs pass through the same stages as sampled replies."""

import json

import pytest

from selfevo import spec
from selfevo.commits import read_rows
from selfevo.errors import UserError
from selfevo.running import execute


@pytest.fixture
def data(tmp_path):
    """Four sums with a recorded solution, a better and a worse answer each."""
    file = tmp_path / "data.jsonl"
    rows = [{"question": f"{a}+{b}=?", "answer": str(a + b), "solution": f"{a}+{b}={a + b} #### {a + b}", "chosen": f"#### {a + b}",
             "rejected": f"#### {a + b + 1}"} for a, b in ((3, 4), (11, 5), (8, 9), (20, 2))]  # fmt: skip
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def run(tmp_path, data, *overrides):
    fields = "{question: question, answer: answer, solution: solution, chosen: chosen, rejected: rejected}"
    _, checked = spec.preflight([
        "task=jsonl", f"task.path={data}", f"task.fields={fields}", "curriculum=epochs", "stages.evaluate=null", "loop.start=null",
        "loop.main.do=[data,score,train]", "scale=tiny", "scale.tasks=4", "scale.iterations=6", "optimizer.lr=3e-4", *overrides,
    ], [], "config", False)  # fmt: skip
    done = execute(checked, tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    return done, [line["metrics"] for line in lines if line["stage"] == "train"]


def test_a_supervised_fit_of_recorded_solutions_raises_their_likelihood_and_ends_them(tmp_path, data):
    done, metrics = run(tmp_path, data, "loop=supervised", "optimizer=sft")
    assert metrics[-1]["train/nll"] < metrics[0]["train/nll"]
    rows = read_rows(done.store, "main.0", "score")
    codec = done.world.codec("solver")
    assert len(rows) == 4
    for row in rows:
        (turn,) = row.trajectory.turns
        assert turn.source == "data" and turn.text == row.trajectory.task.vars["solution"]
        assert turn.tokens[-1] in codec.ends and codec.decode(turn.tokens) == turn.text
        assert row.reward("score") == 1.0 and row.trajectory.length == 0  # nothing was sampled


def test_a_preference_fit_of_recorded_pairs_widens_their_margin(tmp_path, data):
    done, metrics = run(tmp_path, data, "loop=preferences", "optimizer=dpo", "optimizer.warmup_steps=0")
    assert [r.reward("score") for r in read_rows(done.store, "main.0", "score")] == [1.0, 0.0] * 4
    assert metrics[0]["train/loss"] == pytest.approx(0.693147, abs=1e-4)  # ln 2: the policy is its own reference at first
    assert metrics[-1]["train/loss"] < metrics[0]["train/loss"]


def test_a_field_the_data_lacks_is_named_with_the_nearest(tmp_path, data):
    with pytest.raises(UserError, match="has no field 'solutoin'; did you mean 'solution'"):
        run(tmp_path, data, "loop=supervised", "optimizer=sft", "stages.data.strategy.replies={solution: null, solutoin: 1}")
