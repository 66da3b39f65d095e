"""Majority votes: label, ties, silence, groups of one."""

from __future__ import annotations

import random

import pytest

from selfevo.errors import UserError
from selfevo.verifiers import Exact, Majority, Numeric, verify


def vote(texts, make_row, ctx, **settings):
    return Majority(**settings)([make_row(t) for t in texts], ctx("m"))


def rewards(texts, make_row, ctx, **settings):
    return [r.reward("m") for r in vote(texts, make_row, ctx, **settings)]


def test_agreeing_with_the_majority_scores_one(make_row, ctx):
    rows = vote(["#### 4", "#### 5", "#### 4", "dunno"], make_row, ctx)
    assert [r.reward("m") for r in rows] == [1.0, 0.0, 1.0, 0.0]
    assert rows[0].score.info == {"label": "4", "share": "0.5", "answer": "4"}
    assert "answer" not in rows[3].score.info


def test_without_a_tie_the_order_of_rows_does_not_matter(make_row, ctx):
    texts = [f"#### {a}" for a in "5544446"]
    random.Random(0).shuffle(texts)
    assert rewards(texts, make_row, ctx) == [float(t.endswith("4")) for t in texts]


def test_a_tie_goes_to_the_answer_seen_first_or_to_nobody(make_row, ctx):
    texts = ["#### 5", "#### 4", "#### 4", "#### 5"]
    assert rewards(texts, make_row, ctx) == [1.0, 0.0, 0.0, 1.0]
    assert rewards(texts, make_row, ctx, ties="abstain") == [None] * 4


def test_a_tie_below_the_top_is_no_tie(make_row, ctx):
    assert rewards(["#### 1", "#### 2", "#### 3", "#### 3"], make_row, ctx, ties="abstain") == [0.0, 0.0, 1.0, 1.0]


def test_nobody_answering_is_an_abstention(make_row, ctx):
    rows = vote(["a", "b"], make_row, ctx)
    assert [r.score.statuses["m"] for r in rows] == ["abstain"] * 2


def test_a_group_of_one_agrees_with_itself(make_row, ctx):
    assert rewards(["#### 9"], make_row, ctx) == [1.0]


def test_min_share_counts_all_rows_and_is_inclusive(make_row, ctx):
    texts = ["#### 4", "#### 4", "x", "y"]
    assert rewards(texts, make_row, ctx, min_share=0.5) == [1.0, 1.0, 0.0, 0.0]
    assert rewards(texts, make_row, ctx, min_share=0.51) == [None] * 4


def test_votes_use_the_answer_an_earlier_part_left(make_row, ctx):
    rows = [make_row(t, "1/2") for t in ("#### 1/2", "#### 0.5", "#### 3", "#### 4")]
    assert [r.reward("m") for r in verify({"n": Numeric(), "m": Majority(ties="abstain")}, rows, ctx)] == [1.0, 1.0, 0.0, 0.0]
    assert [r.reward("m") for r in verify({"n": Exact(), "m": Majority(ties="abstain")}, rows, ctx)] == [None] * 4


def test_the_reference_is_never_read(make_row, ctx):
    rows = [make_row("#### 4", answer=a) for a in ("5", None, "6")]
    assert [r.reward("m") for r in Majority()(rows, ctx("m"))] == [1.0] * 3


@pytest.mark.parametrize(("settings", "message"), [({"ties": "last"}, "expected 'first' or 'abstain'"), ({"min_share": 2}, "from 0 to 1")])
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Majority(**settings)
