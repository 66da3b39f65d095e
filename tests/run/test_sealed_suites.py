"""Test-time use of a sealed suite: its tasks slice by slice without their answers, and an evaluation of answers made elsewhere."""

import pytest
from scripted_specs import EXACT, engine

from selfevo.commits import read_rows
from selfevo.errors import SpecErrors, UserError
from selfevo.references import turn

REPLIES = {"Q 2+2": "#### 4", "Q 1+1": ["#### 3"]}


def walk(tmp_path, of="walk/answer", take=1, repeat=2, **more):
    suite = {"_target_": "selfevo.evals.Suite", "name": "sums", "n": 2, "samples": 1, "verifier": EXACT, "source": "${task}"}
    suite["source"] = {
        "_target_": "selfevo.tasks.Dataset",
        "path": str(tmp_path / "tasks.jsonl"),
        "fields": {"question": "question", "answer": "answer", "solution": "answer"},
    }
    return {
        "engine": engine(**REPLIES),
        "stages": {
            "look": {"kind": "rollout", "role": "solver", "tasks": {"suite": "evaluate", "take": take}, "group": 2, **more},
            "answer": {"kind": "evaluate", "role": "solver", "suite": suite, "take": take},
            "evaluate": {"kind": "evaluate", "of": of, "suite": suite},
        },
        "loop": {"walk": {"repeat": repeat, "do": ["look", "answer"]}, "end": {"do": ["evaluate"]}},
    }


def test_a_sealed_task_shows_what_its_prompt_shows_and_keeps_its_id(run_of, tmp_path):
    run, _lines = run_of(walk(tmp_path))
    looked = [row.trajectory.task for i in range(2) for row in read_rows(run.store, f"walk.{i}", "look")]
    assert [task.id for task in looked[::2]] == [task.id for task in run.stages["evaluate"].suite.tasks()]
    assert all(task.answer is None and set(task.vars) == {"question"} for task in looked)


def test_slices_log_nothing_of_the_suite_and_the_evaluation_of_them_equals_one_that_answers_itself(run_of, tmp_path):
    _run, lines = run_of(walk(tmp_path))
    by_stage = {line["stage"]: line["metrics"] for line in lines}
    assert not [name for name in by_stage["answer"] if name.startswith("eval/")]
    body = walk(tmp_path)
    del body["stages"]["look"], body["stages"]["answer"], body["stages"]["evaluate"]["of"]
    body["stages"]["evaluate"]["role"] = "solver"
    body["loop"] = {"end": {"do": ["evaluate"]}}
    (tmp_path / "run").rename(tmp_path / "sliced")
    _, plain = run_of(body)
    kept = {k: v for k, v in by_stage["evaluate"].items() if not k.startswith("time/")}
    assert kept == {k: v for k, v in plain[-1]["metrics"].items() if not k.startswith("time/")}
    assert kept["eval/sums/pass@1"] == 0.5 and kept["eval/sums/generated_tokens"] > 0


def test_answers_that_are_missing_or_given_twice_are_no_evaluation(run_of, tmp_path):
    with pytest.raises(UserError, match="must hold each of the 2 tasks of suite 'sums' 1 times and no other task; 1 are not so"):
        run_of(walk(tmp_path, repeat=1))


def test_past_the_end_of_the_suite_there_are_no_tasks(run_of, tmp_path):
    _run, lines = run_of(walk(tmp_path, take=2))
    assert [line["metrics"]["rollout/tasks"] for line in lines if line["stage"] == "look"] == [2, 0]


def test_draws_named_by_stage_and_task_do_not_depend_on_when_they_are_drawn(run_of, tmp_path):
    body = walk(tmp_path, take=2, seed_by=["stage", "task"])
    body["engine"] = {**engine(Q=[f"#### {i}" for i in range(97)]), "choose": "seed"}
    body["stages"]["look"] = {**body["stages"]["look"], "tasks": {"suite": "evaluate"}}
    body["stages"]["evaluate"] = {**body["stages"]["evaluate"], "of": "walk/answer"}
    run, _ = run_of(body)
    first, second = ([row.trajectory.text for row in read_rows(run.store, f"walk.{i}", "look")] for i in range(2))
    assert first == second and len(set(first)) > 1


@pytest.mark.parametrize(
    "tasks, message",
    [
        ({"suite": "evaluat"}, "no stage is named 'evaluat'; did you mean 'evaluate'"),
        ({"suite": "evaluate", "where": {"exact": 1}}, "does not go with `suite`"),
        ({"follow": "look", "take": 1}, "does not go with `follow`"),
        ({"suite": "evaluate", "take": 0}, "1 or more, got 0"),
    ],
)
def test_mistakes_are_one_line(checked, tmp_path, tasks, message):
    body = walk(tmp_path)
    body["stages"]["look"] = {**body["stages"]["look"], "tasks": tasks}
    with pytest.raises(SpecErrors, match=message):
        checked(body)


def test_the_iteration_that_counts_is_that_of_the_innermost_repeated_block():
    assert [turn(path) for path in ("start", "walk.7", "round.2/walk.3/adapt", "round.4/once")] == [0, 7, 3, 4]
