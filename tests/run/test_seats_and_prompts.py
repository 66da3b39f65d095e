"""Several roles on one task, in rollouts and evaluations; tasks that name their own prompt. Replies come from a script."""

from __future__ import annotations

import json

from scripted_specs import EXACT, POLICY, engine

from selfevo.commits import read_rows

EACH = {"_target_": "selfevo.rollouts.Each"}
VOTE = {"_target_": "selfevo.verifiers.CollectiveVote"}


def test_every_seat_answers_alone_and_one_vote_counts_them_all(run_of, tmp_path):
    held_out = tmp_path / "held.jsonl"
    held_out.write_text(json.dumps({"question": "3+3", "answer": "6"}) + "\n")
    suite = {
        "_target_": "selfevo.evals.Suite", "name": "sums", "source": {"_target_": "selfevo.tasks.Dataset", "path": str(held_out)},
        "n": None, "samples": 2, "verifier": EXACT, "measures": {"together": {"_target_": "selfevo.evals.Collective"}},
    }  # fmt: skip
    run, lines = run_of(
        {
            "policies": {"a": POLICY, "b": POLICY},
            "roles": {"a": {"policy": "a", "prompt": "plain"}, "b": {"policy": "b", "prompt": "fancy"}},
            "prompts": {"plain": "A {question}", "fancy": "B {question}"},
            "engine": engine(**{"A 2+2": "#### 4", "B 2+2": ["#### 4", "#### 5"], "A 1+1": "#### 3", "B 1+1": ["#### 3", "#### 2"],
                                "A 3+3": "#### 6", "B 3+3": "#### 7"}),
            "stages": {
                "rollout": {"kind": "rollout", "seats": {"a": "a", "b": "b"}, "tasks": "curriculum", "n": 2, "group": 2, "strategy": EACH},
                "score": {"kind": "score", "of": "rollout", "verifier": {**EXACT, "vote": VOTE}},
                "evaluate": {"kind": "evaluate", "seats": {"a": "a", "b": "b"}, "suite": suite, "strategy": EACH},
            },
            "loop": {"main": {"repeat": 1, "do": ["rollout", "score", "evaluate"]}},
        }
    )  # fmt: skip
    rows = read_rows(run.store, "main.0", "score")
    assert [r.trajectory.role for r in rows] == ["a", "b"] * 4
    assert len({r.group for r in rows}) == 2 and len({r.trajectory.episode for r in rows}) == 4
    labels = {r.trajectory.task.vars["question"]: r.score.info["label"] for r in rows}
    assert labels == {"2+2": "4", "1+1": "3"}  # a is sure both times; once it is wrong
    (found,) = [line["metrics"] for line in lines if line["stage"] == "evaluate"]
    assert found["eval/sums/together/pass@1/role=a"] == 1.0 and found["eval/sums/together/pass@1/role=b"] == 0.0
    assert found["eval/sums/pass@1"] == found["eval/sums/together/vote"] == 0.5  # two against two: a tie


def test_a_task_is_asked_under_its_own_prompt_and_what_follows_from_it_is_not(run_of, tmp_path):
    sums = {"_target_": "selfevo.tasks.Dataset", "path": str(tmp_path / "tasks.jsonl")}  # 2+2 and 1+1
    run, _ = run_of(
        {
            "prompts": {"solve": "Q {question}", "revise": "R {question} {response}", "check": "C {question} {solver}"},
            "engine": engine(**{"Q 2+2": "#### 5", "Q 1+1": "#### 2", "R 2+2": "#### 4", "R 1+1": "#### 2", "C ": "yes"}),
            "curriculum": {
                "_target_": "selfevo.curricula.TaskSpace", "p_iter": 1.0,
                "tasks": sums,
            },
            "stages": {
                "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2},
                "score": {"kind": "score", "of": "rollout", "verifier": EXACT, "update": ["curriculum"]},
                "check": {"kind": "rollout", "role": "solver", "tasks": {"follow": "score", "prompt": "check"}},
            },
            "loop": {"main": {"repeat": 2, "do": ["rollout", "score", "check"]}},
        }
    )  # fmt: skip

    def read(path, stage):
        return [bytes(b for b in r.trajectory.turns[0].context if b < 256).decode() for r in read_rows(run.store, path, stage)]

    def mark(texts):
        return {m for text in texts for m in ("Q ", "R ", "C ") if m in text}

    assert mark(read("main.0", "rollout")) == {"Q "}
    assert mark(read("main.1", "rollout")) == {"R "}
    assert mark(read("main.1", "check")) == {"C "}
