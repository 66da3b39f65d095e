"""Tasks made from rows (gather, again, distinct, reading), candidates of a stage under one probe, and what a role reads of a memory."""

import json

import pytest
from scripted_specs import EXACT, engine

from selfevo.commits import read_rows
from selfevo.errors import SpecErrors, UserError
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.references import Derived
from selfevo.stages.derived import gathered


def rows(*outcomes):
    """Rows of (kind, reward)."""
    made = []
    for i, (kind, reward) in enumerate(outcomes):
        t = Trajectory(f"t{i}", Task({"question": f"q{i}", "kind": kind}, category="c"), "solver", "p@0", (Turn("policy", f"r{i}"),), "e")
        made.append(Row.of(t).rewarded("score", reward))
    return made


MIXED = rows(("b", 0), ("a", 0), ("a", 1), ("a", 0), ("c", 0), ("b", 1))


def test_gathered_rows_are_one_task_a_group_the_largest_first():
    tasks = gathered(MIXED, Derived.parse({"gather": "score", "by": ["kind"], "where": {"score": 0}}), None)
    assert [(t.vars["kind"], t.vars["count"]) for t in tasks] == [("a", "2"), ("b", "1"), ("c", "1")]
    assert tasks[0].vars["rows"] == "q1 -> r1\nq3 -> r3" and tasks[0].lineage.parent == "t1" and tasks[0].answer is None


def test_n_goes_round_the_groups_and_few_groups_repeat():
    derived = Derived.parse({"gather": "score", "by": ["kind"]})
    assert [t.vars["kind"] for t in gathered(MIXED, derived, 5)] == ["a", "b", "c", "a", "b"]
    assert [t.vars["kind"] for t in gathered(MIXED, derived, 2)] == ["a", "b"]
    assert gathered([], derived, 5) == []


def test_other_rows_stand_beside_and_lines_are_bounded():
    node = {"gather": "score", "where": {"score": 0}, "beside": {"good": {"score": 1}}, "line": "{question}:{score}", "most": 2}
    (task,) = gathered(MIXED, Derived.parse(node), None)
    assert task.vars["rows"] == "q0:0\nq1:0" and task.vars["good"] == "q2:1\nq5:1" and task.vars["count"] == "4"


def test_groups_by_what_was_said_and_by_keys_and_a_name_that_nothing_has_is_one_line():
    assert len(gathered(MIXED, Derived.parse({"gather": "score", "by": ["response"]}), None)) == 6
    assert len(gathered(MIXED, Derived.parse({"gather": "score", "by": ["category"]}), None)) == 1
    with pytest.raises(UserError, match="no key or variable 'kinds'; did you mean 'kind'"):
        gathered(MIXED, Derived.parse({"gather": "score", "by": ["kinds"]}), None)


BY_TAGS = {"_target_": "selfevo.memories.ByTags"}


def candidates(replies, **probe):
    """Drafts of a hint as edits, all probed at once under their versions."""
    texts = [json.dumps([{"action": "ADD", "name": name, "tags": ["2"], "content": name}]) for name in replies]
    return {
        "engine": engine(draft=texts or ["nothing"], **{"good": "#### 4", "Q": "#### 0"}),
        "memories": {"skills": {"_target_": "selfevo.memories.Text"}},
        "roles": {
            "agent": {"policy": "solver", "prompt": "act", "memories": ["skills"], "retrieve": {"skills": BY_TAGS}},
            "writer": {"policy": "solver", "prompt": "write"},
        },
        "prompts": {"act": "{skills}Q {question}", "write": "draft {question}"},
        "stages": {
            "draft": {"kind": "rollout", "role": "writer", "tasks": "task", "n": 1, "group": max(1, len(replies))},
            "propose": {"kind": "train", "memory": "skills", "from": "draft", "optimizer": {"_target_": "selfevo.memories.Edits"}},
            "probe": {"kind": "rollout", "role": "agent", "tasks": "curriculum", "n": 2, "bind": {"skills": ["current", "propose*"]},
                      "seed_by": ["task"]},
            "judged": {"kind": "score", "of": "probe", "verifier": EXACT},
            "again": {"kind": "rollout", "role": "agent", "tasks": {"again": "probe", **probe}, "bind": {"skills": ["propose*"]}},
        },
        "loop": {"main": {"repeat": 1, "do": ["draft", "propose", "probe", "judged", "again"]}},
    }  # fmt: skip


def test_a_stage_may_make_several_candidates_and_a_probe_runs_under_each(run_of):
    run, _ = run_of(candidates(["good", "bad"]))
    versions = run.world.lineages.versions["skills"]
    assert [v.parents for v in list(versions.values())[1:]] == [("000000",), ("000000",)]
    assert run.world.lineages.aliases["skills"]["propose"] == "000002" and run.world.lineages.aliases["skills"]["current"] == "000000"
    judged = read_rows(run.store, "main.0", "judged")
    assert [row.trajectory.memories["skills"] for row in judged] == ["000000", "000001", "000002"] * 2
    assert (run.store.root / "memories/skills/000002/bad.md").is_file()
    again = read_rows(run.store, "main.0", "again")
    assert [row.trajectory.memories["skills"] for row in again] == ["000001", "000002"] * 2
    assert [t.trajectory.task.id for t in again[::2]] == [t.trajectory.task.id for t in judged[::3]]


def test_without_candidates_nothing_is_probed(run_of):
    _, lines = run_of(candidates([]))
    counts = {line["stage"]: line["metrics"].get("rollout/trajectories") for line in lines}
    assert counts["probe"] == counts["again"] == 0


def test_a_role_reads_what_its_retriever_chooses_and_the_trajectory_says_what(run_of):
    run, _ = run_of(candidates(["good", "bad"]))
    judged = read_rows(run.store, "main.0", "judged")
    by_version = {(r.trajectory.memories["skills"], r.trajectory.task.vars["question"]): r for r in judged}
    chosen = {key: json.loads(row.trajectory.keys["read:skills"]) for key, row in by_version.items()}
    assert chosen["000001", "2+2"] == ["good.md"] and chosen["000001", "1+1"] == [] and chosen["000000", "2+2"] == []
    prompt = bytes(b for b in by_version["000000", "2+2"].trajectory.turns[0].context if b < 256).decode()
    assert "Q 2+2" in prompt and "\nQ 2+2" not in prompt  # nothing chosen leaves no gap


def test_rows_that_read_a_version_are_kept_and_an_alias_that_nothing_moved_keeps_none(run_of):
    run, _ = run_of(candidates(["good", "bad"], reading={"skills": "propose"}))
    assert len(list(read_rows(run.store, "main.0", "again"))) == 4
    body = candidates(["good"], reading={"skills": "best"})
    (run.store.root).rename(run.store.root.with_name("first"))
    run, _ = run_of(body)
    assert not list(read_rows(run.store, "main.0", "again"))


@pytest.mark.parametrize(
    "change, message",
    [
        ({"roles": {"agent": {"policy": "solver", "retrieve": {"skills": BY_TAGS}}}}, "reads no memory 'skills'"),
        ({"bind": {"skills": ["propos*"]}}, "skills has no version 'propos'; did you mean 'propose'"),
        ({"tasks": {"gather": "judged", "keep_answer": False}}, "does not go with `gather`"),
        ({"tasks": {"gather": "judgd"}}, "no stage is named 'judgd'"),
        ({"tasks": {"again": "probe", "reading": {"skils": "best"}}}, "no memory is named 'skils'"),
    ],
)
def test_mistakes_are_one_line(checked, change, message):
    body = candidates(["good"])
    if "roles" in change:
        body["roles"] = {**body["roles"], **change["roles"]}
    else:
        body["stages"]["again"] = {**body["stages"]["again"], **change}
    with pytest.raises(SpecErrors, match=message):
        checked(body)
