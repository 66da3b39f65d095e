"""The work that is planned is the work that a run does: counted against real runs, and by hand."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from scripted_specs import coevolution

from selfevo import spec
from selfevo.loop import parse
from selfevo.planning.work import Range, executions, table_rows
from selfevo.running import execute

TASKS = [("2+2", "4"), ("1+1", "2")]
POLICY = {"_target_": "selfevo.models.Scripted"}
EXACT = {"exact": {"_target_": "selfevo.verifiers.Exact"}}


@pytest.fixture
def ran(tmp_path):
    """Runs a scripted spec's body; returns the spec and the lines of its metrics."""

    def go(body):
        file = tmp_path / "tasks.jsonl"
        file.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in TASKS))
        data = {"_target_": "selfevo.tasks.Dataset", "path": str(file)}
        base = {
            "name": "scripted", "seed": 3, "task": data, "curriculum": {"_target_": "selfevo.curricula.Epochs", "tasks": data},
            "policies": {"solver": POLICY}, "roles": {"solver": {"policy": "solver"}}, "prompts": {"solve": "Q {question}"},
            "engine": {"_target_": "selfevo.engines.Scripted", "replies": ["#### 4", "#### 2"]},
            "launcher": {"_target_": "selfevo.launchers.Inline"},
        }  # fmt: skip
        made = spec.check({**base, **body})
        execute(made, tmp_path / "run")
        return made, [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]

    return go


def planned(made):
    rows = table_rows(made.stages)
    return executions(made.loop, {name: int(node.get("every") or 1) for name, node in made.stages.items()}, rows), rows


@pytest.mark.parametrize("loop", [
    {"main": {"repeat": 7, "do": ["rollout", "score", "look"]}},
    {"start": {"do": ["look"]}, "main": {"repeat": 5, "do": [{"fill": {"repeat": 3, "do": ["rollout", "score"]}}, "look"]}},
    {"main": {"repeat": 7, "do": ["rollout", {"now": {"every": 3, "do": ["score", "look"]}}]}},
    {"outer": {"each": [1, 2, 3], "do": [{"inner": {"repeat": 4, "every": 2, "do": ["rollout", "score"]}}, "look"]}},
])  # fmt: skip
def test_stages_run_as_often_as_planned(loop, ran):
    stages = {
        "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 3},
        "score": {"kind": "score", "of": "rollout", "verifier": EXACT, "every": 2},
        "look": {"kind": "score", "of": "rollout", "verifier": EXACT, "every": 3},
    }
    made, lines = ran({"stages": stages, "loop": loop})
    runs, rows = planned(made)
    assert runs == {name: Range(count, count) for name, count in Counter(line["stage"] for line in lines).items()}
    assert {line["metrics"]["rollout/trajectories"] for line in lines if line["stage"] == "rollout"} == {rows["rollout"].low}


def test_rows_of_a_real_run_lie_within_the_range_that_is_planned(ran):
    made, lines = ran(coevolution())
    runs, rows = planned(made)
    assert {name: (r.low, r.high) for name, r in runs.items()} == {n: (c, c) for n, c in Counter(line["stage"] for line in lines).items()}
    for line in lines:
        count = line["metrics"].get("rollout/trajectories")
        if count is not None:
            assert rows[line["stage"]].low <= count <= rows[line["stage"]].high, line
    # three proposals of which some hold no task, four attempts at each that does
    assert (rows["propose"], rows["attempts"]) == (Range(3, 3), Range(0, 12))


def test_a_block_that_ends_with_enough_rows_runs_at_least_until_it_can_have_them():
    fill = {"until": {"rows": "fill/score", "at_least": 50}, "max": 9, "do": ["rollout", "score"]}
    block, errors = parse({"main": {"repeat": 10, "do": [{"fill": fill}]}}, ["rollout", "score"])
    assert not errors
    rows = {"rollout": Range(16, 16), "score": Range(16, 16)}
    assert executions(block, {"rollout": 1, "score": 1}, rows)["rollout"] == Range(10 * 4, 10 * 9)  # 4 x 16 rows are the first 50


def test_recorded_replies_are_not_sampled():
    from selfevo.planning.cluster import Cluster
    from selfevo.planning.plan import make
    from selfevo.planning.times import work

    made = spec.read(["optimizer=sft", "loop=supervised", "task=gsm8k", "curriculum=epochs", "eval=gsm8k"])
    done = {w.stage: w for w in work(make(made, Cluster(gpus=1)))}
    assert done["data"].tokens.high == 0 == done["data"].seconds.high
    assert done["train"].tokens.low > 0
    assert done["evaluate"].rows == Range(7 * 1319, 7 * 1319)  # at the start and after every fifth of 30 iterations
