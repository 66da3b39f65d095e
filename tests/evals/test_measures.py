"""Further numbers of a suite: what measures are given, and the two that look at several attempts."""

from __future__ import annotations

import math
import random

import pytest

from selfevo.errors import UserError
from selfevo.evals import Hops, Suite, Transitions
from selfevo.evals.estimators import maj_at_k, plurality
from selfevo.evals.hops import transitions
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.verifiers import Exact

A, B = Task({"question": "a"}, answer="1"), Task({"question": "b"}, answer="2")


def episode(task, name, rights, answers=None, checks=False):
    """Judged rows of a chain: one per solution, with critiques between them."""
    rows = []
    for hop, right in enumerate(rights):
        final = "yes" if hop == len(rights) - 1 else "no"
        answer = answers[hop] if answers else task.answer if right else "9"
        made = Row.of(
            Trajectory(f"{name}.{hop}", task, "solver", "p@0", (Turn("policy", "", (1,)),), name, {"hop": str(hop), "final": final})
        )
        rows.append(made.rewarded("score", float(right), info={"answer": answer} if answer else {}))
        if checks and hop + 1 < len(rights):
            keys = {"check": str(hop), "final": "no"}
            rows.append(Row.of(Trajectory(f"{name}.c{hop}", task, "solver", "p@0", (), name, keys)).rewarded("score", 0.0))
    return rows


def solved(row):
    return (row.reward("score") or 0) >= 0.5


class Count:
    """How many rows a measure is handed, by finality."""

    def __call__(self, rows, solved):
        return {"rows": len(rows), "right": sum(map(solved, rows)), "odd": math.nan}


class Source:
    categories, levels = (), ()

    def __len__(self):
        return 2

    def __iter__(self):
        return iter((A, B))

    def draw(self, rng, category=None, level=None):
        return A


def test_measures_see_the_way_and_pass_at_one_sees_where_it_led():
    suite = Suite("s", Source(), None, 2, {"exact": Exact()}, bootstrap=0, k=[], measures={"count": Count()})
    rows = [*episode(A, "a0", [0, 1], checks=True), *episode(A, "a1", [1, 0]), *episode(B, "b0", [0, 1]), *episode(B, "b1", [1, 1])]
    m = suite.metrics(rows)
    assert m["eval/s/pass@1"] == 0.75
    assert (m["eval/s/samples"], m["eval/s/count/rows"], m["eval/s/count/right"]) == (4, 9, 5)
    assert math.isnan(m["eval/s/count/odd"])


def test_transitions_by_hand_with_hops_in_between():
    rows = [*episode(A, "a0", [0, 0, 1], checks=True), *episode(A, "a1", [1, 1, 0]), *episode(B, "b0", [1, 0, 1]), *episode(B, "b1", [1])]
    t = Transitions()(rows, solved)
    assert (t["acc1"], t["acc2"], t["d_ic"], t["d_ci"], t["delta"]) == (0.75, 0.75, 0.25, 0.25, 0.0)
    assert t["cl"] == pytest.approx(2 / 3)
    assert t["cs"] == 1.0


def test_hops_by_hand():
    rows = [*episode(A, "a0", [0, 1, 1], ["9", "1", "1"], checks=True), *episode(A, "a1", [0, 0, 1], ["8", None, "1"])]
    rows += episode(B, "b0", [1, 0, 0], ["2", "7", "7"])
    h = Hops(window=2)(rows, solved)
    assert [h[f"pass@1/hop={n}"] for n in range(3)] == [0.5, 0.25, 0.5]
    assert (h["p_ic"], h["p_ci"]) == (2 / 4, 1 / 2)
    assert (h["stationary"], h["mixing"]) == (0.5, 0.0)
    assert h["vote/first"] == 0.5  # nobody is right on the first task at first
    assert h["vote"] == 0.5  # three of the last four answers to a are "1"; "7" wins for b
    assert h["improving"] == 0.5  # a: 2/3 against 0; b: 0 against 1
    assert Hops(window=None)(rows, solved)["vote"] == 0.5


def test_a_chain_that_ended_early_stays_where_it_ended():
    rows = [*episode(A, "a0", [0, 1]), *episode(A, "a1", [0, 0, 0, 1])]
    h = Hops()(rows, solved)
    assert [h[f"pass@1/hop={n}"] for n in range(4)] == [0.0, 0.5, 0.5, 1.0]


def test_the_order_of_rows_and_chains_changes_nothing_and_the_window_changes_the_vote_alone():
    rng = random.Random(0)
    rows = []
    for task in (A, B):
        for c in range(5):
            rights = [rng.random() < 0.5 for _ in range(6)]
            rows += episode(task, f"{task.id}{c}", rights, [task.answer if r else rng.choice("3456") for r in rights])
    expected = Hops(3)(rows, solved), Transitions()(rows, solved)
    narrow = dict(Hops(1)(rows, solved))
    rng.shuffle(rows)
    assert (Hops(3)(rows, solved), Transitions()(rows, solved)) == expected
    assert {k for k, v in expected[0].items() if narrow[k] != v} <= {"vote"}


def test_transitions_of_chains_that_never_leave_a_state_are_unknown():
    assert transitions([[True, True], [True]]) == (pytest.approx(math.nan, nan_ok=True), 0.0)
    assert all(math.isnan(x) for x in transitions([[True], [False]]))
    with pytest.raises(UserError, match="window"):
        Hops(0)


def test_plurality_is_majority_of_all():
    rng = random.Random(1)
    for _ in range(200):
        n = rng.randint(1, 7)
        answers = [rng.choice(["1", "2", "3", None]) for _ in range(n)]
        right = [a == "1" for a in answers]
        assert plurality(answers, right) == pytest.approx(maj_at_k(answers, right, n))
