"""Uniform and Epochs: repeatable draws, no repeats within a batch or an epoch, exact continuation."""

from __future__ import annotations

from collections import Counter

import pytest

from selfevo.curricula import Epochs, Uniform
from selfevo.errors import UserError
from selfevo.tasks import ChainSum


def test_uniform_draws_are_a_function_of_the_stage_and_differ_on_the_next_attempt(ctx_at, source):
    ids = [[t.id for t in Uniform(source()).sample(8, ctx_at(i, name))] for i, name in ((0, "c"), (0, "c"), (0, "c+1"), (1, "c"))]
    assert ids[0] == ids[1] and ids[0] != ids[2] and ids[0] != ids[3]


def test_uniform_repeats_a_task_only_when_the_source_is_too_small(ctx_at, source):
    assert len({t.id for t in Uniform(source(12)).sample(10, ctx_at())}) == 10
    tasks = Uniform(source(3)).sample(10, ctx_at())
    assert len(tasks) == 10 and len({t.id for t in tasks}) == 3


def test_uniform_covers_every_task_alike(ctx_at, source):
    uniform, counts = Uniform(source(10)), Counter()
    for i in range(800):
        counts.update(t.id for t in uniform.sample(5, ctx_at(i)))
    assert len(counts) == 10 and all(abs(n - 400) < 65 for n in counts.values())  # sd below 14.2 for distinct draws


def test_uniform_keeps_to_its_category_and_level_and_refuses_unknown_ones(ctx_at, source):
    assert {t.difficulty for t in Uniform(source(), level=2.0).sample(9, ctx_at())} == {2.0}
    with pytest.raises(UserError, match="no category 'dd'; did you mean 'd'"):
        Uniform(source(), category="dd").sample(1, ctx_at())


def test_metrics_are_shares_and_success_rates_of_judged_rows(ctx_at, source, rows_of):
    tasks, ctx = list(source(4, (1, 2))), ctx_at()
    Uniform(source(4, (1, 2))).update(rows_of(tasks, [1, 0, 1, None]), ctx)  # levels 1, 2, 1, (2)
    assert ctx.metrics["curriculum/level"] == pytest.approx(4 / 3)
    assert ctx.metrics["curriculum/share/level=1"] == pytest.approx(2 / 3)
    assert (ctx.metrics["curriculum/solved/level=1"], ctx.metrics["curriculum/solved/level=2"]) == (1.0, 0.0)
    assert ctx.metrics["curriculum/solved/category=d"] == ctx.metrics["curriculum/solved"] == pytest.approx(2 / 3)


def test_an_epoch_holds_every_task_once_in_a_new_order(ctx_at, source):
    epochs = Epochs(source(10))
    drawn = [t.id for i in range(6) for t in epochs.sample(5, ctx_at(i))]
    passes = [drawn[i : i + 10] for i in (0, 10, 20)]
    assert all(set(p) == {t.id for t in source(10)} for p in passes)
    assert passes[0] != passes[1] != passes[2]


def test_a_batch_may_run_over_the_end_of_an_epoch(ctx_at, source):
    epochs, ctx = Epochs(source(4), shuffle=False), ctx_at()
    assert [t.vars["question"] for t in epochs.sample(6, ctx)] == ["d0", "d1", "d2", "d3", "d0", "d1"]
    assert ctx.metrics["curriculum/epoch"] == 1.5


def test_epochs_go_on_exactly_where_a_saved_state_left_off(ctx_at, source):
    one = Epochs(source(7))
    one.sample(5, ctx_at(0))
    two = Epochs(source(7))
    two.load_state_dict(one.state_dict())
    for i in (1, 2, 3):
        assert one.sample(5, ctx_at(i)) == two.sample(5, ctx_at(i))
    assert one.state_dict() == two.state_dict()
    with pytest.raises(ValueError, match="for 7 tasks, the source has 8"):
        Epochs(source(8)).load_state_dict(one.state_dict())


def test_epochs_refuse_an_endless_source():
    with pytest.raises(UserError, match="ChainSum is endless"):
        Epochs(ChainSum())
