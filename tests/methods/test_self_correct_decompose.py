"""Confidence v.s. critique (arXiv:2412.19513): identities of the table, and what CCT trains on."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest
from real_runs import run_in

from selfevo import seeds
from selfevo.errors import UserError
from selfevo.evals.transitions import decompose, probabilities
from selfevo.prompts import render
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.samples import Corrections


def table(questions):
    """`decompose` of lists of (first right, second right), one list per question."""
    return decompose([probabilities(q) for q in questions])


def test_acc2_is_acc1_cl_plus_wrong_cs_on_any_table_of_booleans():
    rng = random.Random(0)
    for _ in range(200):
        questions = [[(rng.random() < 0.5, rng.random() < 0.6) for _ in range(rng.randint(1, 6))] for _ in range(rng.randint(1, 9))]
        t = table(questions)
        if 0 < t["acc1"] < 1:
            assert t["acc2"] == pytest.approx(t["acc1"] * t["cl"] + (1 - t["acc1"]) * t["cs"], abs=1e-12)
            assert t["acc2"] == pytest.approx(sum(sum(b for _, b in q) / len(q) for q in questions) / len(questions), abs=1e-12)
            assert t["rss"] == pytest.approx((t["acc2"] - t["acc1"] ** 2) / (2 * t["acc1"] * (1 - t["acc1"])), abs=1e-9)


def test_a_model_that_repeats_itself_is_confident_and_uncritical():
    t = table([[(True, True), (False, False)], [(True, True), (True, True)]])
    assert (t["cl"], t["cs"], t["acc2"], t["rss"]) == (1.0, 0.0, t["acc1"], 0.5)


def test_independent_second_answers_of_a_homogeneous_set_have_both_at_acc1():
    t = decompose([(0.6, 0.6, 0.6)] * 5)
    assert all(t[name] == pytest.approx(0.6) for name in ("acc1", "acc2", "cl", "cs"))
    assert t["rss"] == pytest.approx(0.5)


def test_bounds_are_those_of_cl_and_cs_between_their_extremes():
    low, high = decompose([(0.7, 0.7, 0.0)] * 3), decompose([(0.7, 1.0, 0.7)] * 3)
    assert (low["rss"], high["rss"]) == (pytest.approx(0.0, abs=1e-12), pytest.approx(1.0))
    assert (low["low"], low["high"]) == (pytest.approx(0.49), pytest.approx(0.91))


def test_averages_of_ratios_would_break_the_identity_and_are_not_taken():
    questions = [[(True, True)] * 3 + [(False, False)], [(True, False)] + [(False, True)] * 3]
    t = table(questions)
    assert t["cl"] == 3 / 4  # of all right first answers; the mean of 1 and 0 over questions is 1/2
    assert t["cs"] == 3 / 4


@pytest.mark.parametrize("first", [True, False])
def test_where_all_or_nothing_was_right_at_first_ratios_are_nan(first):
    t = table([[(first, True), (first, False)]])
    assert math.isnan(t["rss"])
    assert math.isnan(t["cs"] if first else t["cl"])
    assert t["acc2"] == 0.5
    assert all(math.isnan(table([])[name]) for name in ("acc1", "acc2", "cl", "cs", "rss"))


def test_probabilities_of_options_give_the_same_numbers_as_many_samples():
    p1, p2 = {"A": 0.5, "B": 0.3, "C": 0.2}, {"A": 0.9, "B": 0.4, "C": 0.1}  # gold is A; p2: second answer A after each first
    pc = sum(p1[i] * p2[i] for i in "BC") / (1 - p1["A"])
    assert decompose([(p1["A"], p2["A"], pc)])["acc2"] == pytest.approx(0.5 * 0.9 + 0.3 * 0.4 + 0.2 * 0.1)


@dataclass
class Ctx:
    logged: dict = field(default_factory=dict)

    def rng(self, *key):
        return seeds.rng(*key)

    def log(self, name, value):
        self.logged[name] = value

    def open(self, role, task, prompt=None, **variables):
        return tuple(f"{prompt}:{task.vars['question']}:{variables['response']}".encode())


@pytest.fixture
def rows():
    """Five answers to one question (two right), two to another (none right), one right one to a third."""
    made = []
    for group, score in (("g", 1), ("g", 0), ("g", 0), ("g", 1), ("g", 0), ("h", 0), ("h", 0), ("i", 1)):
        k = len(made)
        turn = Turn("policy", f"answer {k}", (100 + k, 2), (-0.1, -0.2), (7,), "solver@0")
        t = Trajectory(f"t{k}", Task({"question": group}, answer="4"), "solver", "solver@0", (turn,), f"e{k}", {"group": group})
        made.append(Row.of(t).rewarded("score", score))
    return made


def test_second_answers_are_right_ones_of_the_group_after_every_answer(rows):
    ctx = Ctx()
    samples = Corrections("solver", "reask", balance=False).build(rows, ctx)
    assert [s.row for s in samples] == [0, 1, 2, 3, 4, 7]  # nobody was right on h
    for s in samples:
        t = rows[s.row].trajectory
        assert bytes(s.contexts["train"]).decode() == f"reask:{t.keys['group']}:{t.text}"
        right = {"g": {100, 103}, "i": {107}}[t.keys["group"]]
        assert s.response[0] in right - ({100 + s.row} if len(right) > 1 else set())
        assert "logp:sampler" not in s.columns
        assert s.keys["first"] == ("right" if s.row in (0, 3, 7) else "wrong")
    assert (ctx.logged["train/after_right"], ctx.logged["train/after_wrong"]) == (3, 3)


def test_clt_and_cst_are_the_two_halves_of_cct(rows):
    both, right, wrong = (Corrections("solver", "reask", after, balance=False).build(rows, Ctx()) for after in ("both", "right", "wrong"))
    assert sorted(right + wrong, key=lambda s: s.row) == both
    assert [s.row for s in right] == [0, 3, 7]


def test_balance_takes_equally_many_of_both(rows):
    samples = Corrections("solver", "reask").build(rows[:5], Ctx())
    firsts = [s.keys["first"] for s in samples]
    assert firsts.count("right") == firsts.count("wrong") == 2
    assert Corrections("solver", "reask").build(rows[5:7], Ctx()) == []


def test_an_unknown_kind_of_first_answer_is_refused():
    with pytest.raises(UserError, match="'right', 'wrong' or 'both'"):
        Corrections("solver", "reask", "sometimes")


@pytest.mark.slow
def test_the_loss_is_on_the_second_answer_under_the_conversation_that_evaluation_has(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/self_correct_decompose", "scale=tiny"])
    world = run.run.world
    evaluated = [r.trajectory for r in run.rows("main.0", "evaluate")]
    first, second = evaluated[:2]
    assert (first.keys["hop"], second.keys["hop"], second.final, second.parent) == ("0", "1", True, first.id)
    messages = render(world.prompt("reask"), {**second.task.vars, "response": first.text})
    assert second.turns[-1].context == world.codec("solver").open(messages)
    acc = {name: run.metric("evaluate", f"eval/chain_sum/cc/{name}")[-1] for name in ("acc1", "acc2", "d_ic", "d_ci")}
    assert acc["acc2"] == run.metric("evaluate", "eval/chain_sum/pass@1")[-1]
    assert acc["acc2"] - acc["acc1"] == pytest.approx(acc["d_ic"] - acc["d_ci"])
