"""Mixture of curricula: shares, apart random streams, rows returned to who gave the task, exact continuation."""

from __future__ import annotations

import pytest

from selfevo.curricula import ByLevel, Epochs, Mixture, Uniform, Window
from selfevo.errors import UserError
from selfevo.protocols import Varying


def test_shares_follow_weights_that_may_vary(ctx_at, source):
    mixture = Mixture({"a": Uniform(source(400, name="a")), "b": Uniform(source(400, name="b"))},
                      {"a": Varying("linear", (1.0, 0.0)), "b": Varying("linear", (0.0, 1.0))})  # fmt: skip
    shares = [sum(t.category == "b" for t in mixture.sample(200, ctx_at(i))) / 200 for i in (0, 3, 9)]
    assert shares[0] == 0 and abs(shares[1] - 1 / 3) < 0.12 and shares[2] == 1


def test_two_curricula_over_one_source_do_not_draw_the_same_tasks(ctx_at, source):
    mixture = Mixture({"a": Uniform(source(500)), "b": Uniform(source(500))})
    tasks = mixture.sample(40, ctx_at())
    owners = [mixture._owner[t.id] for t in tasks]
    a, b = ([t.id for t, o in zip(tasks, owners, strict=True) if o == name] for name in "ab")
    assert len(a) > 8 < len(b) and a[:8] != b[:8]


def test_rows_go_back_to_the_curriculum_that_gave_the_task(ctx_at, source, rows_of):
    parts = {"a": ByLevel(source(90, (1, 2), "a"), threshold=1.0, window=2), "b": ByLevel(source(90, (1, 2), "b"), threshold=1.0, window=2)}
    mixture, ctx = Mixture(parts), ctx_at()
    tasks = mixture.sample(20, ctx_at())
    stranger = source(1, name="c")[0]
    mixture.update(rows_of([*tasks, stranger], [t.category == "a" for t in tasks] + [True]), ctx)
    assert parts["a"].state_dict()["open"] == 2 and parts["b"].state_dict() == {"open": 1, "recent": "00"}
    assert ctx.metrics["curriculum/a/solved"] == 1.0 and ctx.metrics["curriculum/b/solved"] == 0.0
    assert ctx.metrics["curriculum/foreign"] == 1
    assert ctx.metrics["curriculum/a/share"] + ctx.metrics["curriculum/b/share"] == pytest.approx(20 / 21)


def test_state_round_trip_continues_exactly(ctx_at, source, rows_of):
    def made():
        return Mixture({"u": Uniform(source(30, name="u")), "w": Window(source(30, name="w"), by="task", least=1)}, {"w": 2})

    one, two = made(), made()
    for i in range(3):
        tasks = one.sample(12, ctx_at(i))
        one.update(rows_of(tasks, [j % 3 == 0 for j in range(12)]), ctx_at(i))
    two.load_state_dict(one.state_dict())
    assert one.sample(12, ctx_at(5)) == two.sample(12, ctx_at(5)) and one.state_dict() == two.state_dict()
    with pytest.raises(ValueError, match="not a state of a mixture"):
        Mixture({"u": Uniform(source())}).load_state_dict(one.state_dict())


def test_bad_weights_are_refused(ctx_at, source):
    with pytest.raises(UserError, match="did you mean 'uni'"):
        Mixture({"uni": Uniform(source())}, {"unl": 1})
    with pytest.raises(UserError, match="at least one above"):
        Mixture({"uni": Uniform(source())}, {"uni": 0}).sample(1, ctx_at())


def test_only_the_tasks_handed_out_last_are_remembered(ctx_at, source, monkeypatch):
    monkeypatch.setattr("selfevo.curricula.mixture.REMEMBERED", 10)
    mixture = Mixture({"a": Epochs(source(30, name="a"))})
    batches = [mixture.sample(6, ctx_at(i)) for i in range(4)]
    assert list(mixture.state_dict()["owner"]) == [t.id for batch in batches for t in batch][-10:]
