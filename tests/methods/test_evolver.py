"""EvolveR (arXiv:2510.16079): utilities, merging, pruning and the format reward by hand; an empty store is plain GRPO."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from real_runs import run_in
from scripted_specs import EXACT, POLICY, engine

from selfevo import spec
from selfevo.codec import ByteCodec
from selfevo.commits import read_rows
from selfevo.context import StageCtx
from selfevo.errors import UserError
from selfevo.memories import Memory, Nearest, Principles, Skill
from selfevo.memories.principles import used, utility
from selfevo.protocols import Completion, Sampling
from selfevo.records import Lineage, Message, Row, Task, Trajectory, Turn
from selfevo.rollouts import Recall, Talk
from selfevo.running import execute
from selfevo.samples import PolicyTurns
from selfevo.similarity import alike, cosine, ngrams
from selfevo.verifiers import ThinkSearch
from selfevo.world import World


class Ctx(StageCtx):
    """A stage whose tables are given."""

    def rows(self, table):
        return self.tables[table]


@pytest.fixture
def ctx(tmp_path):
    made = Ctx(World(0, 1, {}, {}, tmp_path), "main.0", "organize", 0)
    made.tables = {"score": []}
    return made


def said(text, reward=1.0, question="q", number=0):
    """What a distiller wrote of a trajectory with this reward."""
    task = Task({"question": question, "score": f"{reward:g}"}, lineage=Lineage("follow", f"trajectory{number}"))
    return Row.of(Trajectory(f"d{number}", task, "distiller", "p@0", (Turn("policy", text),), "e"))


def read(files, reward):
    """A trajectory that read these principles."""
    t = Trajectory("t", Task({"q": 1}), "solver", "p@0", (), "e", {"read:principles": json.dumps(list(files))})
    return Row.of(t).rewarded("score", reward)


def told(memory, rows, ctx, part=None, **settings):
    """The memory after one step."""
    version = (part or Principles(outcomes=["score"], **settings)).update(memory, rows, ctx)
    if version is not None:
        memory.promote(version.id)
    return {file: Skill.read(file, text) for file, text in memory.files.items()}


def only(skills):
    (skill,) = skills.values()
    return skill


# -- utility ------------------------------------------------------------------------------------------------------------------


def test_a_principle_starts_at_one_half_and_after_n_successes_in_n_uses_has_n_plus_1_of_n_plus_2():
    principle = Skill("p", content="x")
    assert utility(principle) == 0.5
    for n in range(1, 9):
        principle = used(principle, True)
        assert utility(principle) == (n + 1) / (n + 2) and float(principle.facts["utility"]) == pytest.approx(utility(principle), rel=1e-5)
    assert utility(used(Skill("p"), False)) == 1 / 3


def test_every_principle_a_trajectory_read_has_one_more_use_and_those_of_errors_have_none(ctx):
    memory = Memory("principles")
    skills = told(memory, [said("carry the one"), said("borrow from the left")], ctx)
    one, other = skills
    ctx.tables["score"] = [read([one, other], 1.0), read([one], 0.0), read([one, "gone.md"], 1.0)]
    ctx.tables["score"].append(Row.of(ctx.tables["score"][0].trajectory).failed("score", "error", "broken"))
    skills = told(memory, [], ctx)
    assert [(s.facts["uses"], s.facts["successes"]) for s in (skills[one], skills[other])] == [("3", "2"), ("1", "1")]


# -- merging, removing doubles, pruning ---------------------------------------------------------------------------------------


def test_success_makes_guiding_and_failure_cautionary_principles(ctx):
    skills = told(Memory("principles"), [said("carry the one", 1.0, number=1), said("carry the one", 0.0, number=2)], ctx)
    assert sorted((s.facts["kind"], s.facts.get("won"), s.facts.get("lost")) for s in skills.values()) == [
        ("cautionary", None, "trajectory2"), ("guiding", "trajectory1", None)]  # fmt: skip


def test_merging_one_trajectory_twice_changes_counts_by_two_and_not_the_number_of_principles(ctx):
    memory = Memory("principles")
    told(memory, [said("carry the one")], ctx)
    for _ in range(2):
        skills = told(memory, [said("carry the one")], ctx)
    assert only(skills).facts["uses"] == only(skills).facts["successes"] == "2" and utility(only(skills)) == 3 / 4


def test_a_failed_merge_counts_a_use_only(ctx):
    memory = Memory("principles")
    told(memory, [said("do not guess", 0.0)], ctx)
    skill = only(told(memory, [said("do not guess", 0.0)], ctx))
    assert (skill.facts["uses"], skill.facts["successes"]) == ("1", "0")


def test_doubles_of_one_question_and_kind_are_one_through_chains_of_likeness(ctx):
    a, b, c = "carry the one always", "carry the one always now", "carry the one always now and then"
    assert alike(f" {a}", f" {c}") < 0.82 <= min(alike(f" {a}", f" {b}"), alike(f" {b}", f" {c}"))
    part = Principles(outcomes=["score"], same=0.82)
    for order in ((a, b, c), (a, c, b), (c, a, b)):
        told(Memory("principles"), [said(text, number=n) for n, text in enumerate(order)], ctx, part)
        assert ctx.metrics["principles/fresh"] == 1
    told(Memory("principles"), [said(a), said(c)], ctx, part)
    assert ctx.metrics["principles/fresh"] == 2
    told(Memory("principles"), [said(a, question="one"), said(a, question="two")], ctx, part)
    assert ctx.metrics["principles/fresh"] == 2 and ctx.metrics["principles/merged"] == 1  # of another question: it merges instead


def test_links_are_the_newest_three_successes_and_two_failures(ctx):
    memory = Memory("principles")
    for number in range(5):
        skill = only(told(memory, [said("carry the one", number=number)], ctx))
    assert skill.facts["won"] == "trajectory2 trajectory3 trajectory4"
    other = Memory("principles")
    for number in range(4):
        skill = only(told(other, [said("guess", 0.0, number=number)], ctx))
    assert skill.facts["lost"] == "trajectory2 trajectory3"


def test_what_falls_below_the_threshold_goes_every_so_often(ctx):
    memory, part = Memory("principles"), Principles(outcomes=["score"], prune_every=3)
    (file,) = told(memory, [said("carry the one")], ctx, part)
    ctx.tables["score"] = [read([file], 0.0)] * 2  # (0 + 1) / (2 + 2) = 0.25
    assert list(told(memory, [], ctx, part)) == [file]
    ctx.tables["score"] = []
    assert told(memory, [], ctx, part) == {} and ctx.metrics["principles/pruned"] == 1


def test_pruning_at_threshold_zero_removes_nothing(ctx):
    memory, part = Memory("principles"), Principles(outcomes=["score"], prune_every=1, prune_below=0.0)
    (file,) = told(memory, [said("carry the one")], ctx, part)
    ctx.tables["score"] = [read([file], 0.0)] * 50
    assert list(told(memory, [], ctx, part)) == [file]


@pytest.mark.parametrize("text", ["", "   ", "!!!!!", "<think>so</think> carry", "do </answer>"])
def test_texts_that_are_no_principle_are_left_out_and_counted(ctx, text):
    assert told(Memory("principles"), [said(text)], ctx) == {} and ctx.metrics["principles/unused"] == 1


def test_a_lone_surrogate_of_a_model_does_not_end_the_run(ctx):
    assert only(told(Memory("principles"), [said("carry \ud800 one")], ctx)).content == "carry ? one"


def test_a_step_in_which_nothing_happened_makes_no_version(ctx):
    memory = Memory("principles")
    assert Principles(outcomes=["score"]).update(memory, [], ctx) is None and len(memory.versions) == 1


def test_steps_are_remembered_over_a_restart():
    part, other = Principles(), Principles()
    part._steps = 7
    other.load_state_dict(json.loads(json.dumps(part.state_dict())))
    assert other._steps == 7
    with pytest.raises(ValueError, match="not the state of Principles"):
        other.load_state_dict({})
    with pytest.raises(UserError, match=r"needs a group \(\?P<text>"):
        Principles(pattern="(.*)")


# -- likeness and retrieval ---------------------------------------------------------------------------------------------------


def test_the_cosine_is_one_for_equal_texts_zero_for_unlike_ones_and_symmetric():
    assert alike("Carry the one ", "carry the one") == pytest.approx(1.0) and alike("abc", "xyz") == 0.0
    assert alike("carry the one", "carry the two") == alike("carry the two", "carry the one") < 1
    assert cosine(ngrams("aab", 1), ngrams("b", 1)) == pytest.approx(1 / 5**0.5)


def test_the_nearest_are_shown_and_of_equally_near_ones_the_more_useful():
    def principle(name, when, uses, ok):
        skill = Skill(name, when=when, content=f"advice {name}")
        for i in range(uses):
            skill = used(skill, i < ok)
        return skill

    held = [principle("a", "sums", 3, 0), principle("b", "sums", 3, 3), principle("c", "products", 1, 1)]
    files = {s.file: s.text for s in held}
    assert Nearest(k=2, field="topic")(files, Task({"topic": "sums"})) == {"b.md": "advice b", "a.md": "advice a"}
    assert Nearest(k=1, field="topic")(files, Task({"topic": "products"})) == {"c.md": "advice c"}
    assert Nearest(k=3, field="topic", at_least=0.9)(files, Task({"topic": "sum"})) == {}
    with pytest.raises(UserError, match="no variable 'topics'; did you mean 'topic'"):
        Nearest(field="topics")(files, Task({"topic": "sums"}))


def test_a_principle_is_the_same_after_it_was_written_to_a_file():
    skill = used(Skill("p", when="@", content="a\n\nb", facts={"kind": "guiding", "won": "x/y-1.0 z"}), True)
    assert Skill.read("p.md", skill.text) == skill


# -- the format reward --------------------------------------------------------------------------------------------------------


def reply(think=1, experience=1, knowledge=0, answer=1, body="some text"):
    counts = {"think": think, "search_experience": experience, "search_knowledge": knowledge, "answer": answer}
    return "".join(f"<{tag}>{body}</{tag}>" * count for tag, count in counts.items())


@pytest.mark.parametrize("think, score", enumerate([0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 0.0, 0.0, 0.5, 0.5], 1))
def test_thoughts_are_paid_by_their_number_with_the_codes_hole_at_seven_and_eight(think, score):
    assert ThinkSearch().of(reply(think)) == pytest.approx((score + 0.2) / 2)
    assert ThinkSearch(hole=False).of(reply(think)) == pytest.approx(((0.5 if think in (7, 8) else score) + 0.2) / 2)


@pytest.mark.parametrize("experience, knowledge, score", [(1, 0, 0.2), (0, 1, 0.2), (1, 1, 0.6), (2, 1, 0.7), (3, 0, 0.4), (9, 9, 1.0)])
def test_searches_are_paid_by_their_kinds_and_number(experience, knowledge, score):
    assert ThinkSearch().of(reply(1, experience, knowledge)) == pytest.approx((0.2 + score) / 2)


@pytest.mark.parametrize("missing", [{"think": 0}, {"experience": 0}, {"answer": 0}, {"body": "ab"}, {"body": "  a "}])
def test_without_a_thought_a_search_or_an_answer_of_three_characters_there_is_nothing(missing):
    assert ThinkSearch().of(reply(**missing)) == 0.0


# -- looking things up --------------------------------------------------------------------------------------------------------

CODEC = ByteCodec()


def recalled(replies, **settings):
    """A trajectory whose policy says these pieces in turn."""
    pieces = iter(replies)

    async def speak(context, sampling, key):
        text = next(pieces)
        stopped = text.endswith("</search_experience>") and bool(sampling.stop)
        ids = CODEC.fragment(text) + (() if stopped else (CODEC.END,))
        return Completion(ids, tuple(-0.1 for _ in ids), text, "stop")

    class Seat:
        name = "solver"

        def open(self, task, prompt=None, **variables):
            return Talk(
                codec=CODEC, task=task, context=CODEC.open([Message("user", "q")]), role="solver", policy="p@0", sampling=Sampling(),
                generate=speak, new_id=lambda: "t", episode="e",
            )  # fmt: skip

    class Door:
        def read(self, memory):
            return {f"{name}.md": Skill(name, when=name, content=text).text for name, text in (("sums", "carry"), ("lists", "sort"))}

    part = Recall("principles", Nearest(k=1, field="query"), **settings)
    return asyncio.run(part.run(Task({"question": "q"}), {"solver": Seat()}, None, Door()))[0]


def test_what_is_looked_up_is_written_into_the_reply_recorded_and_masked():
    t = recalled(["hm <search_experience> sums </search_experience>", "so <answer>4</answer>"])
    assert [turn.source for turn in t.turns] == ["policy", "tool", "policy"] and t.turns[1].text == "\n<experience>\ncarry\n</experience>\n"
    assert json.loads(t.keys["read:principles"]) == ["sums.md"] and t.keys["env:calls"] == "1.0"
    (sample,) = PolicyTurns(reward=None).build([Row.of(t)], type("C", (), {"log": lambda *a: None})())
    mask, at, end = sample.columns["mask"], len(t.turns[0].tokens), len(t.turns[0].tokens) + len(t.turns[1].tokens)
    assert not any(mask[at:end]) and all(mask[:at]) and all(mask[end:])


def test_a_file_read_twice_is_recorded_once_and_after_the_last_call_nothing_pauses_the_reply():
    look = "<search_experience>sums</search_experience>"
    t = recalled([look, look, f"{look} and on"], max_calls=2)
    assert json.loads(t.keys["read:principles"]) == ["sums.md"] and t.keys["env:calls"] == "2.0" and t.status == "finished"
    assert recalled(["no search"]).keys["read:principles"] == "[]"


def test_in_a_run_principles_are_distilled_recalled_and_paid_by_what_becomes_of_them(tmp_path):
    data = tmp_path / "tasks.jsonl"
    data.write_text('{"question": "2+2", "answer": "4"}\n')
    source = {"_target_": "selfevo.tasks.Dataset", "path": str(data)}
    replies = engine(principle="take sums apart", **{"take sums apart": "#### 4", "Q": "<search_experience>2+2 sums</search_experience>"})
    replies["replies"]["none found"] = {"contains": "<experience>", "replies": "#### 5"}
    replies["replies"] = {k: replies["replies"][k] for k in ("principle", "take sums apart", "none found", "Q")}
    run = execute(
        spec.check({
            "name": "toy", "seed": 0, "task": source, "policies": {"solver": POLICY}, "engine": replies,
            "launcher": {"_target_": "selfevo.launchers.Inline"},
            "memories": {"principles": {"_target_": "selfevo.memories.Text"}},
            "roles": {"solver": {"policy": "solver", "memories": ["principles"]}, "distiller": {"policy": "solver", "prompt": "distil"}},
            "prompts": {"solve": "Q {question}", "distil": "principle of {question} {response}"},
            "stages": {
                "rollout": {"kind": "rollout", "role": "solver", "tasks": "task", "n": 1, "strategy": {
                    "_target_": "selfevo.rollouts.Recall", "memory": "principles",
                    "retrieve": {"_target_": "selfevo.memories.Nearest", "field": "query"}}},
                "score": {"kind": "score", "of": "rollout", "verifier": EXACT},
                "distil": {"kind": "rollout", "role": "distiller", "tasks": {"follow": "score"}},
                "organize": {"kind": "train", "memory": "principles", "from": "distil", "using": ["score"], "promote": "current",
                             "optimizer": {"_target_": "selfevo.memories.Principles", "outcomes": ["score"]}},
            },
            "loop": {"main": {"repeat": 3, "do": ["rollout", "score", "distil", "organize"]}},
        }),
        tmp_path / "run",
    )  # fmt: skip
    assert run.world.history["score/exact"] == [0.0, 1.0, 1.0]
    (row,) = read_rows(run.store, "main.2", "score")
    assert row.trajectory.memories == {"principles": "000002"} and len(json.loads(row.trajectory.keys["read:principles"])) == 2
    kinds = {s.facts["kind"]: s for s in (Skill.read(f, t) for f, t in run.world.memories["principles"].files.items())}
    assert kinds["cautionary"].facts["uses"] == "2" and kinds["guiding"].facts["uses"] == "2"  # one read, one merge


@pytest.mark.slow
def test_with_an_empty_store_the_run_is_plain_grpo(tmp_path):
    def weights(run):
        tensors = run.run.world.live("solver").model.state_dict()
        return hashlib.sha256(b"".join(t.numpy().tobytes() for _, t in sorted(tensors.items()))).hexdigest()

    sizes = ["scale=tiny", "scale.group=8", "stages.evaluate=null", "loop.start=null"]
    off = run_in(tmp_path / "off", ["+experiment=tiny/evolver", *sizes, "stages.organize.promote=null",
                                    "loop.main.do=[rollout,score,train,organize]"])  # fmt: skip
    plain = run_in(tmp_path / "plain", ["task=operators", "eval=operators", *sizes, "optimizer.lr=1e-3", "optimizer.micro_tokens=4096",
                                        "optimizer.objective.kl=null", "optimizer.objective.pg.reduce=tokens",
                                        "loop.main.do=[rollout,score,train]"])  # fmt: skip
    assert weights(off) == weights(plain) and off.run.world.live("solver").version.id != "000000"
