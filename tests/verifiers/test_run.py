"""verify and summary: order, isolation of failures, the final reward."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfevo.errors import UserError
from selfevo.verifiers import DropUniform, Exact, Majority, summary, verify


class Scripted:
    """A part that gives each row the reward in its text; "!" raises, "?" gives nothing."""

    def __init__(self, scope="row"):
        self.scope = scope

    def __call__(self, rows, ctx):
        out = []
        for row in rows:
            text = row.trajectory.text
            if text == "!":
                raise RuntimeError("two\nlines")
            out.append(row if text == "?" else row.rewarded(ctx.name, float(text)))
        return out


class Counting:
    """A part that rewards the number of rows it was handed."""

    def __init__(self, scope):
        self.scope = scope

    def __call__(self, rows, ctx):
        return [row.rewarded(ctx.name, len(rows)) for row in rows]


def test_a_part_that_raises_on_one_row_leaves_the_others_scored(make_row, ctx):
    rows = verify({"s": Scripted()}, [make_row("1"), make_row("!"), make_row("0")], ctx)
    assert [r.reward("s") for r in rows] == [1.0, None, 0.0]
    assert rows[1].score.statuses == {"s": "error", "score": "error"}
    assert rows[1].score.errors["s"].startswith("RuntimeError: two lines (test_run.py:")


@pytest.mark.parametrize(("scope", "scored"), [("group", [None, None, 1.0]), ("batch", [None, None, None])])
def test_an_exception_stays_within_its_scope(scope, scored, make_row, ctx):
    rows = [make_row("1", group="a"), make_row("!", group="a"), make_row("1", group="b")]
    assert [r.reward("s") for r in verify({"s": Scripted(scope)}, rows, ctx)] == scored


def test_scopes_see_a_row_set_a_group_or_the_batch(make_row, ctx):
    rows = [make_row(group=g) for g in "abaac"]
    assert [r.reward("n") for r in verify({"n": Counting("group")}, rows, ctx)] == [3, 1, 3, 3, 1]
    assert [r.reward("n") for r in verify({"n": Counting("batch")}, rows, ctx)] == [5] * 5


def test_rows_keep_their_order_across_groups(make_row, ctx):
    rows = [make_row("#### 1", group=g) for g in "abab"]
    assert [r.trajectory.id for r in verify({"m": Majority()}, rows, ctx)] == [r.trajectory.id for r in rows]


def test_score_copies_the_last_part_with_its_status(make_row, ctx):
    rows = verify({"a": Scripted(), "b": Counting("batch")}, [make_row("0.5"), make_row("!")], ctx)
    assert [r.reward("score") for r in rows] == [2, 2]
    rows = verify({"b": Counting("batch"), "a": Scripted()}, [make_row("0.5"), make_row("!")], ctx)
    assert [r.reward("score") for r in rows] == [0.5, None]
    assert rows[1].score.statuses["score"] == "error"


def test_a_part_named_score_is_not_overwritten(make_row, ctx):
    (row,) = verify({"score": Scripted(), "n": Counting("row")}, [make_row("0.25")], ctx)
    assert row.reward("score") == 0.25


def test_filters_are_never_copied_to_score(make_row, ctx):
    rows = verify({"s": Scripted(), "drop": DropUniform("s")}, [make_row("1"), make_row("1")], ctx)
    assert [(r.reward("score"), r.score.keep) for r in rows] == [(1.0, False)] * 2
    assert "drop" not in rows[0].score.rewards


def test_broken_episodes_are_not_judged(make_row, ctx):
    rows = [make_row("#### 1", "1"), make_row("#### 1", "1", status="error", error="engine died")]
    out = verify({"exact": Exact(), "n": Counting("batch")}, rows, ctx)
    assert [r.reward("exact") for r in out] == [1.0, None]
    assert out[0].reward("n") == 1
    assert out[1].score.statuses == {"exact": "abstain", "n": "abstain", "score": "abstain"}
    assert "engine died" in out[1].score.errors["score"]


def test_a_silent_part_is_an_abstention_and_a_nan_an_error(make_row, ctx):
    out = verify({"s": Scripted()}, [make_row("?"), make_row("nan"), make_row("inf"), make_row("1")], ctx)
    assert [r.score.statuses["score"] for r in out] == ["abstain", "error", "error", "ok"]
    assert [r.reward("s") for r in out] == [None, None, None, 1.0]


def test_a_failure_does_not_leave_the_reward_of_an_earlier_judgement(make_row, ctx):
    stale = [make_row("!").rewarded("s", 1.0).rewarded("score", 1.0)]
    (row,) = verify({"s": Scripted()}, stale, ctx)
    assert row.score.rewards == {}


@pytest.mark.parametrize("break_", [lambda rows: rows[:-1], lambda rows: rows[::-1]])
def test_a_part_that_loses_or_reorders_rows_is_refused(break_, make_row, ctx):
    class Broken(Counting):
        def __call__(self, rows, ctx):
            return break_(super().__call__(rows, ctx))

    with pytest.raises(UserError, match=r"verifier\.b: a part must return the rows it was given"):
        verify({"b": Broken("batch")}, [make_row(), make_row()], ctx)


def test_wrong_settings_pass_through_as_user_errors(make_row, ctx):
    with pytest.raises(UserError, match="no parts"):
        verify({}, [make_row()], ctx)
    with pytest.raises(UserError, match="scope is 'rows'"):
        verify({"s": Scripted("rows")}, [make_row("1")], ctx)


def test_no_rows_give_no_rows(ctx):
    assert verify({"exact": Exact()}, [], ctx) == []
    assert summary([]) == {}


def test_summary_counts_and_averages_what_there_is(make_row, ctx):
    rows = [make_row("1"), make_row("0.5"), make_row("!"), make_row("?")]
    out = verify({"s": Scripted()}, rows, ctx)
    out[0] = replace(out[0], score=replace(out[0].score, keep=False))
    out[1] = out[1].failed("slow", "timeout", "late")
    got = summary(out)
    assert (got["score/s"], got["score/score"]) == (0.75, 0.75)
    assert (got["score/s_errors"], got["score/s_abstained"], got["score/s_timeouts"]) == (1, 1, 0)
    assert got["score/slow_timeouts"] == 1
    assert "score/slow" not in got
    assert (got["score/keep"], got["score/rows"]) == (0.75, 4)
