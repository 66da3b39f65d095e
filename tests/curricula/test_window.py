"""Window and its set: what is preferred, what stays reachable, exact continuation, cost with many tasks."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfevo.curricula import Window
from selfevo.curricula.fenwick import FenwickSet
from selfevo.errors import UserError
from selfevo.tasks import ChainSum


def handed_out(window, ctx_at):
    """Every task of a small source, in the source's order, all of them handed out by the window."""
    for i in range(20):
        window.sample(len(window.tasks), ctx_at(i))
    return list(window.tasks)


@given(st.integers(1, 70), st.lists(st.tuples(st.integers(0, 10**6), st.booleans()), max_size=60))
def test_the_set_agrees_with_a_plain_set_after_any_changes(n, changes):
    ours, plain = FenwickSet(n), set(range(n))
    for i, member in changes:
        ours.set(i % n, member)
        (plain.add if member else plain.discard)(i % n)
    assert [ours.nth(k) for k in range(len(ours))] == sorted(plain)


def test_equal_sets_give_equal_draws_however_they_came_about():
    one, other = FenwickSet(100), FenwickSet(100)
    for i in range(50):
        one.set(i, False)
    for i in reversed(range(90)):
        other.set(i, False)
    for i in range(50, 90):
        other.set(i, True)
    assert [one.draw(random.Random(s)) for s in range(20)] == [other.draw(random.Random(s)) for s in range(20)]


def test_always_and_never_solved_tasks_are_left_out(ctx_at, source, rows_of):
    window = Window(source(4), by="task", size=4, least=2, floor=0.0)
    tasks = handed_out(window, ctx_at)
    assert len(window._item) == 4  # unseen tasks count as inside
    window.update(rows_of([tasks[0]] * 2 + [tasks[1]] * 2 + [tasks[2]] * 2, [1, 1, 0, 0, 1, 0]), ctx_at())
    assert {t.id for t in window.sample(2, ctx_at(1))} == {tasks[2].id, tasks[3].id}


def test_a_task_comes_back_when_its_recent_outcomes_are_mixed(ctx_at, source, rows_of):
    window = Window(source(2), by="task", size=4, least=2, floor=0.0)
    task = handed_out(window, ctx_at)[0]
    window.update(rows_of([task] * 4, [1, 1, 1, 1]), ctx_at())
    assert window.state_dict()["recent"] == {str(window._item[task.id]): "1111"} and window._inside.count == 1
    window.update(rows_of([task], [0]), ctx_at())
    assert window.rate(window._item[task.id]) == 0.75 and window._inside.count == 2


@pytest.mark.parametrize("low, high, inside", [(0.0, 1.0, {1, 2, 3}), (0.25, 0.75, {2}), (0.2, 0.8, {1, 2, 3}), (0.5, 1.0, {3})])
def test_the_bounds_are_strict(ctx_at, source, rows_of, low, high, inside):
    window = Window(source(5), by="task", low=low, high=high, size=4, least=4, floor=0.0)
    tasks = handed_out(window, ctx_at)
    for solved, task in enumerate(tasks):  # success rates 0, 1/4, 1/2, 3/4, 1
        window.update(rows_of([task] * 4, [1] * solved + [0] * (4 - solved)), ctx_at())
    assert {tasks.index(t) for t in window.sample(len(inside), ctx_at(1))} == inside


def test_the_floor_keeps_everything_reachable(ctx_at, source, rows_of):
    window = Window(source(10, (1,)), by="task", least=1, floor=0.5)
    tasks = handed_out(window, ctx_at)
    window.update(rows_of(tasks[:9], [1] * 9), ctx_at())  # only one stays inside
    counts = Counter(window.sample(1, ctx_at(i))[0].id for i in range(1000))
    assert len(counts) == 10 and 480 < counts[tasks[9].id] < 620  # 0.5 + 0.05 of 1000, 4 standard deviations


def test_when_nothing_is_inside_draws_are_uniform(ctx_at, source, rows_of):
    window = Window(source(3), by="task", least=1, floor=0.0)
    window.update(rows_of(handed_out(window, ctx_at), [1, 0, 1]), ctx_at())
    assert {window.sample(1, ctx_at(i))[0].id for i in range(30)} == {t.id for t in source(3)}


def test_cells_of_an_endless_source_are_steered_by_level(ctx_at, rows_of):
    window = Window(ChainSum(levels=[1, 2, 3]), size=8, least=4, floor=0.0)
    for level, solved in ((1.0, [1, 1, 1, 1]), (2.0, [1, 0, 1, 0]), (3.0, [0, 0, 0, 0])):
        tasks = [window.tasks.draw(random.Random(i), None, level) for i in range(4)]
        window.update(rows_of(tasks, solved), ctx_at())
    ctx = ctx_at(1)
    assert {t.difficulty for t in window.sample(20, ctx)} == {2.0}
    assert ctx.metrics["curriculum/inside"] == pytest.approx(1 / 3)


def test_rows_without_a_reward_and_foreign_tasks_change_nothing(ctx_at, source, rows_of):
    window, ctx = Window(source(3), by="task", least=1), ctx_at()
    tasks = handed_out(window, ctx_at)
    window.update(rows_of([tasks[0], ChainSum().draw(random.Random(0))], [None, 1]), ctx)
    assert window.state_dict()["recent"] == {} and ctx.metrics["curriculum/foreign"] == 1


@pytest.mark.parametrize("by", ["task", "cell"])
def test_state_round_trip_continues_exactly(ctx_at, source, rows_of, by):
    one, two = (Window(source(12), by=by, size=4, least=2, floor=0.3) for _ in range(2))
    for i in range(6):
        tasks = one.sample(6, ctx_at(i))
        one.update(rows_of(tasks, [j % 2 or i % 2 for j in range(6)]), ctx_at(i))
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict()
    for i in range(6, 9):
        assert one.sample(6, ctx_at(i)) == two.sample(6, ctx_at(i))
    with pytest.raises(ValueError, match="items, the source has"):
        Window(source(5, (1,)), by=by).load_state_dict(one.state_dict())


@pytest.mark.parametrize("settings, words", [
    ({"low": 0.7, "high": 0.3}, "0 <= low < high"), ({"least": 9, "size": 4}, "least <= size"), ({"floor": 2}, "a probability"),
    ({"by": "level"}, "'cell' or 'task'"),
])  # fmt: skip
def test_bad_settings_are_refused(source, settings, words):
    with pytest.raises(UserError, match=words):
        Window(source(), **settings)
    with pytest.raises(UserError, match="needs a finite source"):
        Window(ChainSum(), by="task")


def test_a_draw_from_a_large_set_touches_few_nodes():
    """O(log n): a draw among 10**6 reads at most 20 sums, and a change writes at most 20."""
    large = FenwickSet(10**6)

    class Counting:
        def __init__(self, sums):
            self.sums, self.touched = sums, 0

        def __getitem__(self, i):
            self.touched += 1
            return self.sums[i]

        def __setitem__(self, i, value):
            self.sums[i] = value

    large._sums = Counting(large._sums)
    large.draw(random.Random(0))
    drawn, large._sums.touched = large._sums.touched, 0
    large.set(123_456, False)
    assert drawn <= 40 and large._sums.touched <= 20 and 123_456 not in large
