"""TT-SI (arXiv:2510.07841): the margin by hand, and adaptation inside an evaluation that leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import json
import math
import random

import pytest
from real_runs import run_in

from selfevo.codec import ByteCodec
from selfevo.context import StageCtx
from selfevo.errors import UserError
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.rollouts import Candidates
from selfevo.tasks import FromText
from selfevo.verifiers import Margin
from selfevo.verifiers.margin import margin
from selfevo.world import World

SMALL = [
    "+experiment=tiny/tt_si", "scale=tiny", "scale.inputs=4", "scale.eval_tasks=4", "scale.eval_samples=1", "scale.examples=3",
    "scale.steps=2", "scale.max_tokens=48", "stages.look.group=3", "eval.source.levels=[1,2]",
]  # fmt: skip


@pytest.fixture
def ctx(tmp_path):
    return StageCtx(World(0, 1, {}, {}, tmp_path), "walk.0", "margin", 0, name="margin")


def replies(*said):
    """A group of sampled replies: (text, log-probs)."""
    turns = [Turn("policy", text, tuple(range(len(lp))), tuple(lp)) for text, lp in said]
    return [Row.of(Trajectory(f"t{i}", Task({"q": "1"}), "solver", "p@0", (turn,), "e")) for i, turn in enumerate(turns)]


def margin_of(rows, ctx, **settings):
    (u,) = {row.reward("margin") for row in Margin(**settings)(rows, ctx)}
    return u


# -- the margin ---------------------------------------------------------------------------------------------------------------


def test_two_candidates_give_the_hyperbolic_tangent_of_half_their_difference():
    rng = random.Random(0)
    for _ in range(50):
        one, other = rng.uniform(-30, 0), rng.uniform(-30, 0)
        assert margin([one, other]) == pytest.approx(math.tanh(abs(one - other) / 2), abs=1e-12)


def test_the_margin_is_that_of_the_softmax_does_not_see_a_common_shift_and_lies_in_0_1():
    logps = [-3.0, -1.0, -2.5, -1.2]
    weights = sorted((math.exp(x) for x in logps), reverse=True)
    assert margin(logps) == pytest.approx((weights[0] - weights[1]) / sum(weights))
    assert margin([x - 700 for x in logps]) == pytest.approx(margin(logps))
    assert margin([-5.0, -5.0]) == 0.0 and margin([-2000.0]) == 1.0


def test_equal_replies_are_one_candidate_and_order_does_not_matter(ctx):
    said = [("a", [-1.0, -1.0]), ("b", [-3.0]), ("a", [-1.0, -1.0])]
    assert margin_of(replies(*said), ctx) == pytest.approx(math.tanh(0.5)) == margin_of(replies(*said[::-1]), ctx)


def test_an_answers_probability_is_that_of_all_replies_that_give_it(ctx):
    said = [("x\n#### 4", [-1.0]), ("y\n#### 4", [-2.0]), ("#### 5", [-1.5])]
    four, five = math.exp(-1) + math.exp(-2), math.exp(-1.5)
    assert margin_of(replies(*said), ctx, by="answer") == pytest.approx((four - five) / (four + five))


def test_the_mean_takes_the_advantage_of_short_candidates_away(ctx):
    said = [("short", [-1.0]), ("longer", [-0.6, -0.6])]
    assert margin_of(replies(*said), ctx) == pytest.approx(math.tanh(0.1))
    assert margin_of(replies(*said), ctx, length="mean") == pytest.approx(math.tanh(0.2))


def test_without_log_probs_there_is_no_margin(ctx):
    rows = [Row.of(Trajectory("t", Task({"q": "1"}), "s", "p@0", (Turn("policy", "a"),), "e"))]
    (row,) = Margin()(rows, ctx)
    assert row.score.statuses["margin"] == "abstain" and row.reward("margin") is None


def test_candidates_of_a_closed_list_are_weighed_and_not_sampled():
    codec = ByteCodec()

    class Seat:
        name = "solver"

        def open(self, task, prompt=None, **variables):
            from selfevo.protocols import Sampling
            from selfevo.records import Message
            from selfevo.rollouts import Talk

            return Talk(
                codec=codec, task=task, context=codec.open([Message("user", "q")]), role="solver", policy="p@0",
                sampling=Sampling(), generate=None, new_id=lambda: "t", episode="e",
            )  # fmt: skip

    class Door:
        async def logprobs(self, seat, context, tokens):
            return [-0.25] * len(tokens)

    task = Task({"candidates": "call_a(1)\n\ncall_bc(2)"})
    made = asyncio.run(Candidates().run(task, {"solver": Seat()}, None, Door()))
    assert [t.text for t in made] == ["call_a(1)", "call_bc(2)"] and [t.keys["candidate"] for t in made] == ["0", "1"]
    assert [float(t.keys["env:logp"]) for t in made] == [-0.25 * (len("call_a(1)") + 1), -0.25 * (len("call_bc(2)") + 1)]
    with pytest.raises(UserError, match="no 'candidates' to choose from"):
        asyncio.run(Candidates().run(Task({"q": "1"}), {"solver": Seat()}, None, Door()))


def test_examples_take_over_the_tools_of_the_input():
    parse = FromText(r"(?P<question>[^\n]+)\n(?P<solution>#### *(?P<answer>\S+))", keep=["tools"])
    row = Row.of(Trajectory("t", Task({"tools": "a b"}), "w", "p@0", (Turn("policy", "new one\n#### a"),), "e"))
    assert parse.task(parse.parse(row)).vars == {"tools": "a b", "question": "new one", "solution": "#### a"}
    with pytest.raises(UserError, match="no variable 'tool' to keep; did you mean 'tools'"):
        FromText(keep=["tool"]).parse(row)


# -- runs ---------------------------------------------------------------------------------------------------------------------


def hashed(run):
    tensors = run.run.world.live("solver").model.state_dict()
    return hashlib.sha256(b"".join(t.numpy().tobytes() for _, t in sorted(tensors.items()))).hexdigest()


def answers(run):
    return {row.trajectory.task.id: row.trajectory.turns[-1].tokens for row in run.rows("end", "evaluate")}


def fitted(run):
    return [line["metrics"].get("train/steps", 0) > 0 for line in run.lines if line["stage"] == "fit"]


@pytest.fixture(scope="module")
def direct(tmp_path_factory):
    """The base model's own evaluation."""
    loop = ["loop.walk=null", "loop.end={do: [evaluate]}", "stages.evaluate.of=[]", "+stages.evaluate.role=solver"]
    gone = [f"stages.{name}=null" for name in ("look", "margin", "propose", "examples", "fit", "answer")]
    sizes = [o for o in SMALL if not o.startswith(("stages.", "scale.inputs", "scale.examples", "scale.steps"))]
    unread = [f"~scale.{name}" for name in ("inputs", "examples", "steps", "tau")]
    return run_in(tmp_path_factory.mktemp("direct") / "run", [*sizes, *loop, *gone, *unread])


@pytest.mark.slow
def test_at_tau_zero_every_answer_is_the_base_models(tmp_path, direct):
    run = run_in(tmp_path / "run", [*SMALL, "scale.tau=0"])
    assert not any(fitted(run)) and answers(run) == answers(direct)


@pytest.mark.slow
def test_above_one_every_input_adapts_and_the_weights_are_afterwards_what_they_were(tmp_path, direct):
    run = run_in(tmp_path / "run", [*SMALL, "scale.tau=1.1", "stages.fit.optimizer.lr=0.01"])
    assert all(fitted(run)) and answers(run) != answers(direct)
    assert hashed(run) == hashed(direct)
    assert run.run.stages["fit"].optimizer.state_dict()["learned"] is None  # nor does the optimizer remember


@pytest.mark.slow
def test_learning_rate_zero_gives_the_base_answers(tmp_path, direct):
    run = run_in(tmp_path / "run", [*SMALL, "scale.tau=1.1", "stages.fit.optimizer.lr=0"])
    assert all(fitted(run)) and answers(run) == answers(direct)


@pytest.mark.slow
def test_examples_that_cannot_be_read_are_none_and_leave_the_base_answers(tmp_path, direct):
    run = run_in(tmp_path / "run", [*SMALL, "scale.tau=1.1", "stages.examples.parse.pattern='(?P<question>never)(?P<solution>so)'"])
    assert not any(fitted(run)) and answers(run) == answers(direct)


@pytest.mark.slow
def test_the_order_of_the_inputs_changes_nothing(tmp_path):
    sums = [{"question": q, "answer": a} for q, a in (("27+5=?", "32"), ("40-13=?", "27"), ("8+8-3=?", "13"), ("99-50=?", "49"))]
    found = []
    for name, order in (("there", sums), ("back", sums[::-1])):
        file = tmp_path / f"{name}.jsonl"
        file.write_text("".join(json.dumps({**s, "category": "chain_sum", "difficulty": 1}) + "\n" for s in order))
        source = f"{{_target_: selfevo.tasks.Dataset, path: {file}, name: chain_sum, fields: {{question: question, answer: answer, " + (
            "category: category, difficulty: difficulty}}"
        )
        few = [o for o in SMALL if not o.startswith("eval.source")]
        run = run_in(tmp_path / name, [*few, "scale.tau=1.1", "stages.fit.optimizer.lr=0.01", "eval.source=null", f"eval.source={source}"])
        found.append(answers(run))
        assert all(fitted(run))
    assert found[0] == found[1]
