"""Pool: what it holds against a plain list, exact continuation, and that a draw looks at one task."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from selfevo.curricula import Pool
from selfevo.errors import UserError
from selfevo.records import Lineage, Row, Task, Trajectory, Turn
from selfevo.tasks import FromText, Labelled


def proposals(numbers):
    """A row per number, whose text proposes the task of that number."""
    return [
        Row.of(Trajectory(f"t{i}", Task({"question": "?"}, category="c"), "proposer", "p@0", (Turn("policy", f"q{k}\n#### {k}"),), "e"))
        for i, k in enumerate(numbers)
    ]


def questions(pool):
    return [pool.parse.task(proposal).vars["question"] for proposal in pool.state_dict()["proposals"]]


updates = st.lists(st.lists(st.integers(0, 12), max_size=8), max_size=8)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(updates, st.integers(1, 6))
def test_the_newest_are_held_oldest_first_and_drawn_by_age(ctx_at, batches, capacity):
    pool, plain = Pool(FromText(), capacity=capacity), []
    for i, numbers in enumerate(batches):
        ctx = ctx_at(i)
        pool.update(proposals(numbers), ctx)
        new = [f"q{k}" for k in dict.fromkeys(numbers) if f"q{k}" not in plain]
        assert ctx.metrics["curriculum/admitted"] == len(new)
        assert ctx.metrics["curriculum/retired"] == max(0, len(plain) + len(new) - capacity)
        plain = [*plain, *new][-capacity:]
        assert questions(pool) == plain and len(pool) == len(plain) == ctx.metrics["curriculum/pool"]
        if plain:
            rng = ctx_at(i).rng("sample", "curriculum")
            assert [t.vars["question"] for t in pool.sample(5, ctx)] == [plain[rng.randrange(len(plain))] for _ in range(5)]


def test_a_restored_pool_goes_on_as_the_first_would_have(ctx_at):
    one, other = Pool(FromText(), capacity=5), Pool(FromText(), capacity=5)
    one.update(proposals(range(8)), ctx_at())
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for i in range(1, 4):
        assert one.sample(6, ctx_at(i)) == other.sample(6, ctx_at(i))
        for pool in (one, other):
            pool.update(proposals([i + 6, i + 20]), ctx_at(i))
        assert one.state_dict() == other.state_dict()


def test_labelled_tasks_are_held_once_by_id_and_come_back_as_they_were(ctx_at):
    def voted(name, label):
        task = Task({"question": "2+2", "tools": ["a"]}, "4", "sums", 2.0, "shell", Lineage("proposed", "t9"), id=name, prompt="own")
        row = Row.of(Trajectory("t", task, "solver", "s@0", (Turn("policy", label),), "e"))
        return row.rewarded("share", 0.75, info={"label": label, "share": "0.75"})

    one, other = Pool(Labelled()), Pool(Labelled())
    one.update([voted("a", "4"), voted("a", "5")], ctx_at())
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    expected = Task({"question": "2+2", "tools": ["a"], "share": 0.75}, "4", "sums", 2.0, "shell", Lineage("labelled", "t9"), id="a",
                    prompt="own")  # fmt: skip
    assert one.sample(1, ctx_at()) == other.sample(1, ctx_at()) == [expected] and len(one) == len(other) == 1


def test_a_smaller_pool_takes_over_the_newest_of_a_larger_one(ctx_at):
    large, small = Pool(FromText()), Pool(FromText(), capacity=3)
    large.update(proposals(range(8)), ctx_at())
    small.load_state_dict(json.loads(json.dumps(large.state_dict())))
    assert questions(small) == ["q5", "q6", "q7"]
    small.update(proposals([6, 1]), ctx_at(1))  # the one that is held stays, the one that was left behind may come again
    assert questions(small) == ["q6", "q7", "q1"]
    with pytest.raises(ValueError, match=r"not a pool's state: it has \['tasks'\]"):
        small.load_state_dict({"tasks": []})


class Counted(list):
    """A list that counts the elements that are read."""

    reads = 0

    def __getitem__(self, index):
        self.reads += 1
        return super().__getitem__(index)

    def __iter__(self):
        self.reads += len(self)
        return super().__iter__()


def test_a_draw_reads_one_task_and_an_admission_at_most_the_one_it_replaces(ctx_at):
    pool = Pool(FromText(), capacity=500)
    pool.update(proposals(range(500)), ctx_at())
    pool._ring = Counted(pool._ring)
    pool.sample(64, ctx_at(1))
    assert pool._ring.reads == 64
    pool.update(proposals(range(1000, 1010)), ctx_at(1))
    assert pool._ring.reads == 64 + 10


def test_an_empty_pool_without_a_seed_is_an_error(ctx_at):
    with pytest.raises(UserError, match="the pool is empty"):
        Pool(FromText()).sample(1, ctx_at())
