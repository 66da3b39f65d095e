"""Suite: sealed tasks, and metrics worked out by hand."""

from __future__ import annotations

import random

import pytest

from selfevo.errors import UserError
from selfevo.evals import Suite
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.verifiers import Exact


class Doubles:
    """Endless source with `size` distinct tasks."""

    categories, levels = ("double",), (1.0, 2.0)

    def __init__(self, size):
        self.size = size

    def draw(self, rng, category=None, level=None):
        i = rng.randrange(self.size)
        return Task({"question": f"2*{i}"}, answer=str(2 * i), category="double", difficulty=1.0 + i % 2)


class Listed(Doubles):
    """The same as a finite source."""

    def __len__(self):
        return self.size

    def __iter__(self):
        for i in range(self.size):
            yield Task({"question": f"2*{i}"}, answer=str(2 * i))


def suite(**changes):
    settings = {"name": "s", "source": Doubles(1000), "n": 3, "samples": 4, "verifier": {"exact": Exact()}, "k": [1, 2], "bootstrap": 50}
    return Suite(**(settings | changes))


def row(task, i, reward, answer=None, status="finished", error=None, logprobs=(-1.0, -3.0)):
    turn = Turn("policy", "", tokens=(1,) * len(logprobs), logprobs=logprobs)
    made = Row.of(Trajectory(f"{task.id}.{i}", task, "solver", "p@0", (turn,), f"e{i}", status=status))
    info = {} if answer is None else {"answer": answer}
    return made.failed("score", error, "broke") if error else made.rewarded("score", reward, info=info)


def test_tasks_do_not_depend_on_global_randomness_or_earlier_draws():
    one = suite()
    random.seed(1)
    ids = [t.id for t in one.tasks()]
    random.seed(2)
    other = suite()
    other.source.draw(random.Random(5))
    assert [t.id for t in other.tasks()] == ids == [t.id for t in one.tasks()]
    assert one.held_out == set(ids)
    assert len(one.held_out) == 3


def test_name_and_seed_choose_the_tasks():
    assert suite(n=20).held_out != suite(n=20, seed=1).held_out
    assert suite(n=20).held_out != suite(n=20, name="t").held_out


def test_a_larger_suite_contains_the_smaller():
    assert suite(n=5).held_out < suite(n=9).held_out


@pytest.mark.parametrize("source", [Doubles(5), Listed(5)])
def test_a_source_that_runs_out_is_refused_with_the_numbers(source):
    assert len(suite(source=source, n=5).tasks()) == 5
    with pytest.raises(UserError, match="only 5 distinct tasks; n is 6"):
        suite(source=source, n=6).tasks()


def test_n_null_takes_all_of_a_finite_source_and_refuses_an_endless_one():
    assert len(suite(source=Listed(7), n=None).tasks()) == 7
    with pytest.raises(UserError, match="endless"):
        suite(n=None).tasks()


def test_metrics_by_hand():
    s = suite()
    a, b = Task({"q": 1}, category="x", difficulty=1.0), Task({"q": 2}, category="x", difficulty=2.5)
    rows = [row(a, 0, 1, "5"), row(a, 1, 1, "5"), row(a, 2, 0, "6"), row(a, 3, 0, None, status="truncated")]
    rows += [row(b, 0, 0, "7"), row(b, 1, 0, "8"), row(b, 2, 0, "8"), row(b, 3, None, error="timeout", logprobs=(-2.0,) * 6)]
    m = {k.removeprefix("eval/s/"): v for k, v in s.metrics(rows).items()}
    assert m["pass@1"] == 0.25
    assert m["pass@2"] == pytest.approx((1 - 1 / 6) / 2)  # 1 of the 6 pairs of task a misses both right samples
    # pairs of a: {5,5} 1, {5,6} x2 1/2 each, {5,none} x2 1 each, {6,none} 0
    assert m["maj@2"] == pytest.approx((1 + 2 * 0.5 + 2) / 6 / 2)
    assert m["pass@1/category=x"] == 0.25
    assert (m["pass@1/level=1"], m["pass@1/level=2.5"]) == (0.5, 0.0)
    assert m["errors"] == 1
    assert m["reward"] == pytest.approx(2 / 7)
    assert m["answered"] == pytest.approx(6 / 8)
    assert m["precision"] == pytest.approx(2 / 6)
    assert m["distinct"] == pytest.approx(2 / 3)
    assert m["truncated"] == pytest.approx(1 / 8)
    assert m["length"] == pytest.approx((7 * 2 + 6) / 8)
    assert m["entropy"] == pytest.approx((7 * 4 + 12) / 20)
    assert (m["tasks"], m["samples"]) == (2, 8)
    assert m["pass@1/low"] <= 0.25 <= m["pass@1/high"]


def test_metrics_do_not_depend_on_the_order_of_rows():
    rng = random.Random(0)
    tasks = suite(n=6).tasks()
    rows = [row(t, i, rng.random() < 0.4, rng.choice(["1", "2", None])) for t in tasks for i in range(4)]
    expected = suite(n=6).metrics(rows)
    rng.shuffle(rows)
    assert suite(n=6).metrics(rows) == expected


def test_errored_rows_are_unsolved_and_counted_but_not_averaged_into_the_reward():
    task = suite().tasks()[0]
    rows = [row(task, 0, 1, "1"), row(task, 1, 1, "1"), row(task, 2, None, error="error"), row(task, 3, None, error="abstain")]
    m = suite().metrics(rows)
    assert (m["eval/s/pass@1"], m["eval/s/errors"], m["eval/s/reward"]) == (0.5, 2, 1.0)


def test_pruned_trajectories_are_no_samples():
    task = suite().tasks()[0]
    rows = [row(task, i, 1, "1") for i in range(4)]
    assert suite().metrics([*rows, row(task, 4, 0, "2", status="pruned")]) == suite().metrics(rows)


def test_too_few_samples_for_k_are_refused():
    task = suite().tasks()[0]
    with pytest.raises(UserError, match=r"has 1 samples; pass@2 needs 2"):
        suite().metrics([row(task, 0, 1)])
    with pytest.raises(UserError, match="no rows"):
        suite().metrics([])


def test_without_k_only_pass_at_one_is_reported():
    task = suite().tasks()[0]
    m = suite(k=[], samples=1).metrics([row(task, 0, 1, "1")])
    assert m["eval/s/pass@1"] == 1.0
    assert not [name for name in m if "maj" in name or "@" in name.removeprefix("eval/s/pass@1")]


def test_threshold_and_reward_name_decide():
    task = suite().tasks()[0]
    rows = [row(task, i, x).rewarded("f1", 1 - x) for i, x in enumerate([0.0, 0.2, 0.6, 1.0])]
    assert suite(threshold=0.6).metrics(rows)["eval/s/pass@1"] == 0.5
    assert suite(correct="f1", threshold=0.7).metrics(rows)["eval/s/pass@1"] == 0.5
    assert suite(threshold=0.7).metrics(rows)["eval/s/pass@1"] == 0.25


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": [8]}, "k contains 8; expected 1 to 4"),
        ({"by": ["levle"]}, "did you mean 'level'"),
        ({"n": 0}, "n is 0"),
        ({"verifier": {}}, "no parts"),
        ({"top_p": 0}, "top_p"),
        ({"name": "a/b"}, "without '/'"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(changes, message):
    with pytest.raises(UserError, match=message) as e:
        suite(**changes)
    assert "\n" not in str(e.value)
