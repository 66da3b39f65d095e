"""The grammar carries loops beyond GRPO: replies come from a script, everything else is the real run."""

from pathlib import Path

import pytest
from scripted_specs import EXACT, POLICY, coevolution, engine, probe, trainer

from selfevo.commits import read_rows
from selfevo.errors import EngineError, UserError
from selfevo.store import RunDir

TRAINER = trainer()


def metric(lines, stage, name):
    return [line["metrics"].get(name) for line in lines if line["stage"] == stage]


def test_attempt_critique_retry_improves_only_what_was_wrong(run_of):
    run, lines = run_of(
        {
            "policies": {"solver": POLICY, "judge": POLICY},
            "roles": {"solver": {"policy": "solver"}, "judge": {"policy": "judge", "prompt": "criticise"}},
            "prompts": {
                "solve": "Q {question}",
                "criticise": "{question} gave {solver}: why?",
                "improve": "{question} again, since {judge}",
            },
            "engine": engine(again="#### 4", why="you forgot two", **{"Q 2+2": ["#### 5", "#### 4"], "Q 1+1": "#### 2"}),
            "stages": {
                "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 2},
                "score": {"kind": "score", "of": "rollout", "verifier": EXACT, "update": ["curriculum"]},
                "critique": {"kind": "rollout", "role": "judge", "tasks": {"follow": "score", "where": {"exact": 0}}},
                "retry": {"kind": "rollout", "role": "solver", "tasks": {"follow": "critique", "prompt": "improve"}},
                "regrade": {"kind": "score", "of": "retry", "verifier": EXACT},
            },
            "loop": {"main": {"repeat": 2, "do": ["rollout", "score", "critique", "retry", "regrade"]}},
        }
    )
    assert metric(lines, "score", "score/exact") == [0.75, 0.75]
    assert metric(lines, "critique", "rollout/trajectories") == [1, 1]
    assert metric(lines, "regrade", "score/exact") == [1.0, 1.0]
    rows = read_rows(run.store, "main.1", "regrade")
    (row,) = rows
    assert row.trajectory.task.answer == "4"  # the reference travels with the derived task
    assert "again, since you forgot two" in bytes(b for b in row.trajectory.turns[0].context if b < 256).decode()
    parent = row.trajectory.task.lineage.parent
    assert parent is not None and parent.startswith("main.1/critique/")


def test_two_policies_alternate_and_the_proposer_is_paid_by_nested_solver_rollouts(run_of):
    run, lines = run_of(coevolution())
    assert metric(lines, "attempts", "rollout/unparsed") == [1] * 4
    # three proposals: half of the attempts at 3+3 succeed (1), all at 5+5 (0), no one could try the third (0)
    assert metric(lines, "learnability", "score/learnable") == [pytest.approx(1 / 3)] * 4
    assert metric(lines, "learnability", "curriculum/pool") == [1] * 4
    assert run.world.lineages.current() == {"proposer": "000004", "solver": "000006"}
    first = next(line for line in lines if line["stage"] == "train_solver")
    assert first["path"] == "round.0/learn.0" and first["versions"] == {"proposer": "000002", "solver": "000000"}
    solved = read_rows(run.store, "round.1/learn.2", "score")
    assert {row.trajectory.task.vars["question"] for row in solved} == {"3+3"}
    assert {row.trajectory.policy for row in solved} == {"solver@000005"}


def test_a_paired_probe_promotes_the_memory_version_that_gains(run_of):
    run, lines = run_of(probe(improve="carry the one", **{"carry the one: 2+2": "#### 4", "guess: 2+2": "#### 5", ": 1+1": "#### 2"}))
    assert metric(lines, "accept", "gate/wins") == [1] and metric(lines, "accept", "gate/losses") == [0]
    assert run.world.lineages.current()["skills"] == "000001"
    assert (run.store.root / "memories/skills/000001/hint.md").read_text() == "carry the one\n"
    rows = read_rows(run.store, "main.0", "gate")
    assert [row.trajectory.memories["skills"] for row in rows] == ["000000", "000001"] * 2
    manifest = {e["stage"]: e for e in run.store.manifest}
    assert manifest["propose"]["promotions"] == {} and manifest["accept"]["promotions"] == {"skills": {"current": "000001"}}


def test_a_paired_probe_leaves_a_memory_alone_when_the_edit_breaks_what_worked(run_of):
    run, lines = run_of(
        probe(
            improve="carry the one",
            **{"carry the one: 2+2": "#### 4", "guess: 2+2": "#### 5", "carry the one: 1+1": "#### 3", ": 1+1": "#### 2"},
        )
    )
    assert metric(lines, "accept", "gate/losses") == [1]
    assert run.world.lineages.current()["skills"] == "000000"
    assert run.world.lineages.resolve("skills", "propose").id == "000001"  # kept in the lineage, not promoted


def test_a_fork_leaves_no_trace_unless_adopted(run_of):
    body = {
        "engine": engine(**{"Q ": "#### 2"}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1},
            "train": {"kind": "train", "policy": "solver", "from": "rollout", "optimizer": TRAINER},
        },
        "loop": {"main": {"repeat": 2, "do": {"try": {"fork": "solver", "do": ["rollout", "train"]}}}},
    }
    run, lines = run_of(body)
    assert run.world.lineages.current() == {"solver": "000000"}
    assert len(run.world.lineages.versions["solver"]) == 3  # what was made stays in the lineage
    assert metric(lines, "train", "train/calls") == [1, 1]  # optimizer state is undone too


def test_until_ends_a_block_when_enough_rows_match_and_never_runs_past_its_max(run_of):
    body = {
        "engine": engine(**{"Q 2+2": ["#### 5", "#### 4"], "Q 1+1": "#### 2"}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 2},
            "score": {"kind": "score", "of": "rollout", "verifier": EXACT},
            "train": {"kind": "train", "policy": "solver", "from": "fill/score", "where": {"exact": 1}, "optimizer": TRAINER},
        },
        "loop": {
            "main": {
                "repeat": 2,
                "do": {
                    "fill": {"until": {"rows": "fill/score", "where": {"exact": 1}, "at_least": 5}, "max": 4, "do": ["rollout", "score"]},
                    "train": None,
                },
            }
        },
    }
    _run, lines = run_of(body)
    assert [line["path"] for line in lines if line["stage"] == "score"] == [
        "main.0/fill.0",
        "main.0/fill.1",
        "main.1/fill.0",
        "main.1/fill.1",
    ]
    assert metric(lines, "train", "train/rows") == [6, 6]  # 3 of 4 right, twice


def test_a_role_is_served_by_the_engine_it_names(run_of):
    body = {
        "engine": engine(**{"Q ": "#### 4"}),
        "engines": {"other": engine(**{"Q ": "#### 2"})},
        "roles": {"solver": {"policy": "solver", "prompt": "solve"}, "peer": {"policy": "solver", "prompt": "solve", "engine": "other"}},
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 2},
            "second": {"kind": "rollout", "role": "peer", "tasks": "task", "n": 2},
        },
        "loop": {"main": {"do": ["rollout", "second"]}},
    }
    run, _ = run_of(body)
    texts = [{row.trajectory.text for row in read_rows(run.store, "main", stage)} for stage in ("rollout", "second")]
    assert texts == [{"#### 4"}, {"#### 2"}]


def test_every_runs_a_stage_on_the_last_of_each_k_iterations_and_on_the_final_one(run_of):
    body = {
        "engine": engine(**{"Q ": "#### 2"}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1},
            "look": {"kind": "score", "of": "rollout", "verifier": EXACT, "every": 3},
        },
        "loop": {"main": {"repeat": 5, "do": ["rollout", "look"]}},
    }
    _, lines = run_of(body)
    assert [line["path"] for line in lines if line["stage"] == "look"] == ["main.2", "main.4"]


def test_an_earlier_table_can_be_read_by_age(run_of):
    body = {
        "engine": engine(**{"Q ": "#### 2"}),
        "stages": {
            "rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1},
            "score": {"kind": "score", "of": ["rollout", "rollout@-2..-1"], "verifier": EXACT},
        },
        "loop": {"main": {"repeat": 4, "do": ["rollout", "score"]}},
    }
    _, lines = run_of(body)
    assert metric(lines, "score", "score/rows") == [1, 2, 3, 3]


def test_a_prompt_no_reply_fits_ends_the_run_with_one_line_that_names_it(run_of):
    body = {
        "engine": engine(nothing="x"),
        "stages": {"rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1}},
        "loop": {"main": {"do": ["rollout"]}},
    }
    with pytest.raises(EngineError, match="no reply fits") as error:
        run_of(body)
    assert "\n" not in str(error.value)


def test_an_existing_run_directory_is_refused_and_names_resume(run_of, tmp_path):
    body = {
        "engine": engine(**{"Q ": "#### 2"}),
        "stages": {"rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1}},
        "loop": {"main": {"do": ["rollout"]}},
    }
    run_of(body)
    with pytest.raises(UserError, match="selfevo resume"):
        run_of(body)
    assert RunDir.open(Path(tmp_path / "run")).manifest[-1]["stage"] == "end"


def test_two_equal_runs_write_equal_tables(run_of, tmp_path):
    body = {
        "engine": engine(**{"Q 2+2": ["#### 5", "#### 4"], "Q 1+1": "#### 2"}),
        "stages": {"rollout": {"kind": "rollout", "role": "solver", "tasks": "curriculum", "n": 2, "group": 3}},
        "loop": {"main": {"repeat": 2, "do": ["rollout"]}},
    }
    first, _ = run_of(body)
    (tmp_path / "run").rename(tmp_path / "first")
    second, _ = run_of(body)
    shas = [[e["outputs"] for e in run.store.manifest if e.get("outputs")] for run in (first, second)]
    assert shas[0] == shas[1] and len(shas[0]) == 2
