"""GRASP (arXiv:2605.29668): edits, retrieval, probe set and gate by hand, and a toy agent whose accuracy is a table."""

from __future__ import annotations

import json

import pytest
from scripted_specs import EXACT, POLICY

from selfevo import spec
from selfevo.context import StageCtx
from selfevo.curricula import ProbeSet
from selfevo.errors import UserError
from selfevo.memories import ByTags, Edits, Memory, RegressionGate, Restore, Skill, WithoutNewest, files
from selfevo.memories.by_tags import score
from selfevo.memories.edits import extract
from selfevo.memories.regression_gate import Counts
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.running import execute
from selfevo.world import World


@pytest.fixture
def ctx(tmp_path):
    return StageCtx(World(0, 1, {}, {}, tmp_path), "main.0", "accept", 0, name="gate")


def probe(**outcomes):
    """Rows of {version: a sign for each task: + solved, - missed, ! missed without a valid answer, ? broken}; `stored` says how each task
    was first met: P or F."""
    stored = outcomes.pop("stored")
    rows = []
    for version, marks in outcomes.items():
        for i, mark in enumerate(marks):
            task = Task({"q": i, "probe": "passing" if stored[i] == "P" else "failing"}, id=f"q{i}")
            t = Trajectory(f"{version}{i}", task, "agent", "p@0", (), "e", {"sample": "0"}, {"skills": version[1:]})
            row = Row.of(t).rewarded("valid", float(mark != "!"))
            rows.append(row.failed("score", "error", "broken") if mark == "?" else row.rewarded("score", float(mark == "+")))
    return rows


def library(*versions):
    memory = Memory("skills", {"a.md": "first"})
    for n in range(versions[0] if versions else 1):
        memory.add({"a.md": f"{n}"})
    return memory


# -- the gate -----------------------------------------------------------------------------------------------------------------


def test_the_score_is_fixes_less_regressions_less_what_invalid_ones_cost_more(ctx):
    rows = probe(stored="FFFFPPPP", v000000="+---+++-", v000001="+++-++!+")
    document, code = (RegressionGate(valid="valid", form=form) for form in ("document", "code"))
    before, after = (document.count([r for r in rows if r.trajectory.memories["skills"] == v]) for v in ("000000", "000001"))
    assert before == Counts(fixes=1, regressions=1, invalid=0) and after == Counts(fixes=3, regressions=1, invalid=1)
    assert document.adjusted(before, after) == (3 - 1) - (1 - 1) - 2 * 1
    assert code.adjusted(before, after) == (3 - 1) - (1 - 1) - (2 - 1) * 1
    assert document.update(library(), rows, ctx) is None and code.update(library(), rows, ctx).id == "000001"


def test_a_candidate_like_the_library_as_it_is_has_adjusted_zero_and_is_rejected(ctx):
    rows = probe(stored="FFPP", v000000="+-+-", v000001="+-+-")
    assert RegressionGate().update(library(), rows, ctx) is None
    assert ctx.metrics["gate/adjusted"] == 0.0 and ctx.metrics["gate/fixes"] == ctx.metrics["gate/fixes0"] == 1.0


def test_the_reverse_of_an_accepted_edit_is_rejected(ctx):
    memory = library(2)
    there = probe(stored="FFPP", v000000="--++", v000001="+-++")
    assert RegressionGate().update(memory, there, ctx).id == "000001"
    memory.promote("000001")
    back = probe(stored="FFPP", v000001="+-++", v000002="--++")
    assert RegressionGate().update(memory, back, ctx) is None


def test_the_budget_is_that_of_the_baselines_own_run(ctx):
    rows = probe(stored="FFFPPP", v000000="---++-", v000001="+++-++", v000002="+++--+")
    gate = RegressionGate()
    assert gate.update(library(2), rows, ctx).id == "000001"  # one regression, as many as the baseline
    without = [r for r in rows if r.trajectory.memories["skills"] != "000001"]
    assert gate.update(library(2), without, ctx) is None
    assert RegressionGate(budget=False).update(library(2), without, ctx).id == "000002"


def test_fixes_alone_take_an_edit_that_breaks_more(ctx):
    rows = probe(stored="FPPP", v000000="-+++", v000001="+---")
    assert RegressionGate(score="fixes").update(library(), rows, ctx) is None  # the budget still holds
    assert RegressionGate(score="fixes", budget=False).update(library(), rows, ctx).id == "000001"


def test_the_first_of_equal_candidates_wins(ctx):
    rows = probe(stored="FFP", v000000="--+", v000002="+-+", v000001="-++")
    assert RegressionGate().update(library(2), rows, ctx).id == "000002"


def test_errors_of_the_baseline_count_for_no_candidate_and_new_ones_on_passing_tasks_are_regressions(ctx):
    rows = probe(stored="FPP", v000000="?++", v000001="+++")
    assert RegressionGate().update(library(), rows, ctx) is None  # the only fix is on a task that broke under the baseline
    rows = probe(stored="FFP", v000000="--+", v000001="++?")
    assert RegressionGate().update(library(), rows, ctx) is None and ctx.metrics["gate/regressions"] == 1
    rows = probe(stored="FPP", v000000="-?+", v000001="+++")
    assert RegressionGate().update(library(), rows, ctx).id == "000001" and ctx.metrics["gate/regressions0"] == 1


def test_a_probe_without_the_present_library_or_without_first_statuses_is_refused(ctx):
    with pytest.raises(UserError, match="no rows under current"):
        RegressionGate().update(library(), probe(stored="F", v000001="+"), ctx)
    row = Row.of(Trajectory("t", Task({"q": 1}), "a", "p@0", (), "e", {}, {"skills": "000001"})).rewarded("score", 0.0)
    with pytest.raises(UserError, match=r"curricula\.ProbeSet"):
        RegressionGate().count([row])


# -- edits --------------------------------------------------------------------------------------------------------------------


def said(*texts, status="finished"):
    turns = [(Turn("policy", text),) for text in texts]
    return [Row.of(Trajectory(f"t{i}", Task({"q": i}), "author", "p@0", turn, "e", status=status)) for i, turn in enumerate(turns)]


def edit(action, name, content="do it", **more):
    return {"action": action, "name": name, "content": content, **more}


def test_json_is_found_in_whatever_stands_around_it():
    assert list(extract('So [1, {"a": "]"}] and {"b": [2]} [broken')) == [[1, {"a": "]"}], {"b": [2]}]
    assert list(extract("no json [ here {")) == [] and list(extract("[" * 5000)) == []


def test_edits_add_modify_and_remove_skills(ctx):
    memory = Memory("skills", {"old.md": Skill("old", content="x").text})
    add = "Here: " + json.dumps([edit("ADD", "Carry the one", tags=["sum", "plus"], description="sums", when="always")])
    (one,) = Edits().update(memory, said(add), ctx)
    skill = Skill.read("carry-the-one.md", memory.at(one.id)["carry-the-one.md"])
    assert skill == Skill("Carry the one", "sums", ("sum", "plus"), "always", "do it") and memory.version.id == "000000"
    (two,) = Edits().update(memory, said(json.dumps(edit("MODIFY", "old", "y"))), ctx)
    (three,) = Edits().update(memory, said(json.dumps([edit("REMOVE", "old")])), ctx)
    assert Skill.read("old.md", memory.at(two.id)["old.md"]).content == "y" and memory.at(three.id) == {}


@pytest.mark.parametrize(
    "text",
    [
        "nothing to see", "[]", json.dumps([edit("ADD", "")]), json.dumps([edit("ADD", "x", "")]), json.dumps([edit("DELETE", "x")]),
        json.dumps([edit("REMOVE", "not there")]), json.dumps([edit("MODIFY", "not there")]), json.dumps([3, None]),
        json.dumps([edit("ADD", "x", description="d" * 121)]), '[{"action": "ADD", "name": "x", "content": "\\ud800"}]',
    ],
)  # fmt: skip
def test_what_cannot_be_used_gives_no_candidate_and_is_counted(ctx, text):
    assert Edits().update(Memory("skills"), said(text), ctx) == [] and ctx.metrics["propose/unused"] == 1


def test_candidates_alike_in_action_name_and_first_hundred_characters_are_one(ctx):
    texts = [json.dumps([edit("ADD", "a", "x" * 100 + tail)]) for tail in ("1", "2")] + [json.dumps([edit("ADD", "a", "y")])]
    assert len(Edits().update(Memory("skills"), said(*texts), ctx)) == 2


def test_a_full_library_takes_a_skill_only_in_exchange_and_two_edits_where_it_is_nearly_full(ctx):
    memory = Memory("skills", {f"s{i}.md": Skill(f"s{i}", content="x").text for i in range(3)})
    assert Edits(capacity=3).update(memory, said(json.dumps([edit("ADD", "new")])), ctx) == []
    (made,) = Edits(capacity=3).update(memory, said(json.dumps([edit("REMOVE", "s0"), edit("ADD", "new")])), ctx)
    assert sorted(memory.at(made.id)) == ["new.md", "s1.md", "s2.md"]
    (roomy,) = Edits(capacity=9).update(memory, said(json.dumps([edit("REMOVE", "s0"), edit("ADD", "new")])), ctx)
    assert sorted(memory.at(roomy.id)) == ["s1.md", "s2.md"]  # only the first edit counts


# -- which skills are shown ---------------------------------------------------------------------------------------------------


def test_the_score_of_a_skill_by_hand():
    context = "Read the patient record, then order the lab test"
    assert score(Skill("Lab order", tags=("lab test",)), context) == 10 * 3 + 2
    assert score(Skill("x", tags=("test lab",)), context) == 10 * 2
    assert score(Skill("x", tags=("lab billing code",)), context) == 10 * 1
    assert score(Skill("x", tags=("weather",)), context) == 0
    assert score(Skill("x", "about the record"), context) == 10 * 1 + 2


def test_the_best_k_are_shown_and_none_that_score_nothing():
    library = {s.file: s.text for s in (Skill("one", tags=("@",), content="A"), Skill("two", tags=("@", "7"), content="B"),
                                        Skill("three", tags=("&",), content="C"))}  # fmt: skip
    task = Task({"question": "7@4=?"})
    assert ByTags(k=3, show="content")(library, task) == {"two.md": "B", "one.md": "A"}
    assert list(ByTags(k=1)(library, task).values()) == [library["two.md"]]
    with pytest.raises(UserError, match="no variable 'query'"):
        ByTags(field="query")(library, task)


# -- the probe set ------------------------------------------------------------------------------------------------------------


def met(passed, start=0, kind="a"):
    rows = []
    for i, ok in enumerate(passed, start):
        task = Task({"q": i}, category=kind, id=f"{kind}{i}")
        rows.append(Row.of(Trajectory(f"{kind}{i}", task, "agent", "p@0", (), "e")).rewarded("score", float(ok)))
    return rows


def statuses(tasks):
    return [t.vars["probe"] for t in tasks]


def test_half_failing_half_passing_of_earlier_batches_in_turn_over_the_categories(ctx):
    source = ProbeSet()
    source.update(met([0] * 6 + [1] * 6) + met([0, 1], kind="b"), ctx)
    source.update(met([0, 1] * 4, start=20), ctx)
    tasks = source.sample(4, ctx)
    assert statuses(tasks) == ["failing"] * 2 + ["passing"] * 2 and {t.category for t in tasks[:2]} == {"a", "b"}
    assert not {t.id for t in source.sample(99, ctx)} & {f"a{i}" for i in range(20, 28)}


def test_the_current_batch_serves_only_where_there_is_no_other_and_a_short_side_is_filled_up(ctx):
    source = ProbeSet()
    source.update(met([0, 1, 1, 1]), ctx)
    assert statuses(source.sample(4, ctx)) == ["failing"] + ["passing"] * 3
    assert len(source.sample(36, ctx)) == 4 and source.sample(4, ctx) == source.sample(4, ctx)
    source.update(met([1], start=0), ctx)
    source.update(met([1], start=9), ctx)
    assert statuses(source.sample(4, ctx)) == ["passing"] * 4  # task a0 has its latest status


def test_the_probe_set_survives_a_restart(ctx):
    source, other = ProbeSet(keep=3), ProbeSet(keep=3)
    source.update(met([0, 1, 1, 0, 1]), ctx)
    other.load_state_dict(json.loads(json.dumps(source.state_dict())))
    assert other.sample(9, ctx) == source.sample(9, ctx) and len(other.sample(9, ctx)) == 3
    with pytest.raises(ValueError, match="not the state"):
        other.load_state_dict({"met": []})


# -- going back ---------------------------------------------------------------------------------------------------------------


def test_the_restored_snapshot_is_the_same_files_byte_for_byte(ctx, tmp_path):
    memory = Memory("skills", {"a.md": "first\n\n  ä\r\n"})
    memory.promote("000000", "best")
    memory.add({"b.md": "worse"})
    memory.promote("000001")
    files.write(memory.at("best"), tmp_path / "before")
    version = Restore().update(memory, [], ctx)
    memory.promote(version.id)
    files.write(memory.files, tmp_path / "after")
    assert (tmp_path / "after/a.md").read_bytes() == (tmp_path / "before/a.md").read_bytes() == "first\n\n  ä\r\n".encode()
    assert Restore().update(Memory("skills"), [], ctx) is None


def test_after_a_collapse_the_newest_skill_is_proposed_for_removal(ctx):
    memory = Memory("skills", {"old.md": "1"})
    for text in ({"old.md": "1", "new.md": "2"}, {"old.md": "3", "new.md": "2"}):
        memory.promote(memory.add(text).id)
    assert WithoutNewest("score/score").update(memory, [], ctx) == []
    ctx.world.history["score/score"] = [0.9, 0.04]
    (version,) = WithoutNewest("score/score").update(memory, [], ctx)
    assert memory.at(version.id) == {"old.md": "3"}
    ctx.world.history["score/score"] = [0.05]
    assert WithoutNewest("score/score").update(memory, [], ctx) == []


def test_a_skill_file_that_is_not_utf8_is_one_line(tmp_path):
    (tmp_path / "skills").mkdir()
    (tmp_path / "skills/bad.md").write_bytes(b"caf\xe9")
    with pytest.raises(UserError, match=r"bad.md' is not UTF-8 \(byte 3\); memories hold text only"):
        files.read(tmp_path / "skills")


# -- a toy agent whose accuracy is a table of (task type, skill present) ------------------------------------------------------

HELPFUL, HARMFUL, NEUTRAL = (json.dumps([edit("ADD", name, f"advice {name}")]) for name in ("helpful", "harmful", "neutral"))


def toy(tmp_path, replies, gate=True, revision="[]", loose=False):
    """Sums are solved with the helpful skill only, products only without the harmful one; the narrowed skill harms nobody."""
    data = tmp_path / "tasks.jsonl"
    data.write_text("".join(json.dumps({"question": f"{kind} {i}", "answer": "1", "category": kind}) + "\n"
                            for i in range(6) for kind in ("sum", "product")))  # fmt: skip
    source = {"_target_": "selfevo.tasks.Dataset", "path": str(data),
              "fields": {"question": "question", "answer": "answer", "category": "category"}}  # fmt: skip
    agent = {
        "author": {"contains": "edit!", "replies": list(replies)},
        "reviser": {"contains": "narrow!", "replies": revision},
        "hurt": {"matches": "(?s)advice harmful(?!.*narrowed).*product", "replies": "#### 0"},
        "product": {"contains": "product", "replies": "#### 1"},
        "helped": {"matches": "(?s)advice helpful.*sum|advice harmful.*sum", "replies": "#### 1"},
        "sum": {"contains": "sum", "replies": "#### 0"},
    }
    probing = {"kind": "rollout", "role": "agent", "seed_by": ["task"]}
    gating = {"kind": "train", "memory": "skills", "optimizer": {"_target_": "selfevo.memories.RegressionGate"}}
    suite = {"_target_": "selfevo.evals.Suite", "name": "toy", "n": 4, "samples": 1, "verifier": EXACT, "source": source}
    read = {"policy": "solver", "memories": ["skills"]}
    return spec.check({
        "name": "toy", "seed": 0, "task": source, "policies": {"solver": POLICY}, "launcher": {"_target_": "selfevo.launchers.Inline"},
        "curriculum": {"_target_": "selfevo.curricula.Epochs", "tasks": source},
        "probes": {"_target_": "selfevo.curricula.ProbeSet"},
        "engine": {"_target_": "selfevo.engines.Scripted", "replies": agent},
        "memories": {"skills": {"_target_": "selfevo.memories.Text"}},
        "roles": {"agent": {**read, "prompt": "act"}, "author": {**read, "prompt": "write"}, "reviser": {**read, "prompt": "narrow"}},
        "prompts": {"act": "{skills}\n{question}", "write": "edit! {category}", "narrow": "narrow! {rows}"},
        "stages": {
            "rollout": {"kind": "rollout", "role": "agent", "tasks": "curriculum", "n": 8},
            "score": {"kind": "score", "of": "rollout", "verifier": EXACT, "update": ["probes"]},
            "author": {"kind": "rollout", "role": "author", "tasks": {"gather": "score", "by": ["category"], "where": {"score": 0}},
                       "n": len(replies)},
            "propose": {"kind": "train", "memory": "skills", "from": "author", "optimizer": {"_target_": "selfevo.memories.Edits"},
                        **({} if gate else {"promote": "current"})},
            "probe": {**probing, "tasks": "probes", "n": 6, "bind": {"skills": ["current", "propose*"]}},
            "judged": {"kind": "score", "of": "probe", "verifier": EXACT},
            "pick": {**gating, "from": "judged", "promote": "winner", "optimizer": {**gating["optimizer"], **(
                {"score": "fixes", "budget": False} if loose else {})}},
            "revise": {"kind": "rollout", "role": "reviser", "bind": {"skills": ["winner"]}, "n": 1,
                       "tasks": {"gather": "judged", "where": {"score": 0, "probe": "passing"}, "reading": {"skills": "winner"}}},
            "narrow": {"kind": "train", "memory": "skills", "from": "revise",
                       "optimizer": {"_target_": "selfevo.memories.Edits", "parent": "winner"}},
            "reprobe": {**probing, "tasks": {"again": "probe"}, "bind": {"skills": ["narrow*"]}},
            "rejudged": {"kind": "score", "of": "reprobe", "verifier": EXACT},
            "accept": {**gating, "from": ["judged", "rejudged"], **({"promote": "current"} if gate else {})},
            "evaluate": {"kind": "evaluate", "role": "agent", "suite": suite, "best": "eval/toy/pass@1"},
        },
        "loop": {"start": {"do": ["evaluate"]}, "main": {"repeat": 2, "do": [
            "rollout", "score", "author", "propose", "probe", "judged", "pick", "revise", "narrow", "reprobe", "rejudged", "accept",
            "evaluate"]}},
    })  # fmt: skip


def test_the_gate_takes_the_helpful_edit_only_and_accuracy_never_falls(tmp_path):
    run = execute(toy(tmp_path, [HARMFUL, NEUTRAL, HELPFUL]), tmp_path / "run")
    assert sorted(run.world.memories["skills"].files) == ["helpful.md"]
    history = run.world.history
    assert history["gate/candidates"][0] == 3 and history["gate/adopted"][:2] == [1, 1]
    assert history["eval/toy/pass@1"] == sorted(history["eval/toy/pass@1"]) and history["eval/toy/pass@1"][-1] == 1.0
    aliases = run.world.lineages.aliases["skills"]
    assert aliases["best"] == aliases["current"] != "000000"


@pytest.mark.parametrize("edit_", [HARMFUL, NEUTRAL])
def test_the_gate_takes_no_edit_that_does_not_win(tmp_path, edit_):
    run = execute(toy(tmp_path, [edit_]), tmp_path / "run")
    assert run.world.memories["skills"].files == {}


def test_without_a_gate_a_harmful_edit_comes_in_and_accuracy_falls(tmp_path):
    run = execute(toy(tmp_path, [HARMFUL], gate=False), tmp_path / "run")
    assert "harmful.md" in run.world.memories["skills"].files
    assert [row.reward("score") for row in rows_of(run, "product")] == [0.0, 0.0]


def test_a_winner_that_breaks_something_is_narrowed_and_the_narrower_edit_wins_on_the_same_probe_and_draws(tmp_path):
    narrowed = json.dumps([edit("MODIFY", "harmful", "advice harmful, narrowed to sums")])
    run = execute(toy(tmp_path, [HARMFUL], revision=narrowed, loose=True), tmp_path / "run")
    assert "narrowed" in run.world.memories["skills"].files["harmful.md"]
    from selfevo.commits import read_rows

    probed, again = (list(read_rows(run.store, "main.0", stage)) for stage in ("probe", "reprobe"))
    assert {r.trajectory.task.id for r in again} == {r.trajectory.task.id for r in probed} and len(again) == len(probed) / 2


def test_a_revision_that_is_no_better_is_not_kept(tmp_path):
    same = json.dumps([edit("MODIFY", "harmful", "advice harmful, in other words")])
    run = execute(toy(tmp_path, [HARMFUL], revision=same, loose=True), tmp_path / "run")
    assert run.world.memories["skills"].files == {}


def rows_of(run, kind):
    from selfevo.commits import read_rows

    return [row for row in read_rows(run.store, "main.1", "evaluate") if row.trajectory.task.category == kind]


def test_a_probe_costs_one_run_of_the_library_as_it_is_and_one_for_each_candidate(tmp_path):
    run = execute(toy(tmp_path, [HARMFUL, NEUTRAL, HELPFUL]), tmp_path / "run")
    from selfevo.commits import read_rows

    rows = list(read_rows(run.store, "main.0", "probe"))
    tasks = {row.trajectory.task.id for row in rows}
    assert len(rows) == (1 + 3) * len(tasks)
    for version in {row.trajectory.memories["skills"] for row in rows}:
        assert {row.trajectory.task.id for row in rows if row.trajectory.memories["skills"] == version} == tasks
