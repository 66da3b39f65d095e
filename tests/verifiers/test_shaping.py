"""Overlong, Length, Format and Overlap: hand-worked values."""

from __future__ import annotations

import pytest

from selfevo.errors import UserError
from selfevo.verifiers import Format, Length, Overlap, Overlong, Says


def over(tokens, make_row, ctx, limit=20, cache=4):
    return Overlong(limit, cache)([make_row(tokens=tokens)], ctx("o"))[0].reward("o")


def test_overlong_is_zero_up_to_the_cache_and_minus_one_at_the_limit(make_row, ctx):
    assert [over(n, make_row, ctx) for n in (0, 15, 16)] == [0.0, 0.0, 0.0]
    assert [over(n, make_row, ctx) for n in (17, 18, 19)] == [-0.25, -0.5, -0.75]
    assert [over(n, make_row, ctx) for n in (20, 21, 90)] == [-1.0, -1.0, -1.0]


def test_overlong_cache_defaults_to_the_papers_fifth():
    assert Overlong(20480).cache == 4096


@pytest.mark.parametrize(("limit", "cache"), [(0, None), (10, 0), (10, 11)])
def test_overlong_refuses_impossible_limits(limit, cache):
    with pytest.raises(UserError, match="overlong: "):
        Overlong(limit, cache)


def test_length_costs_its_price_per_hundred_tokens_beyond_the_free_ones(make_row, ctx):
    rows = [make_row(tokens=n) for n in (0, 50, 150, 250, 2000)]
    assert [r.reward("l") for r in Length(0.2, free=50, worst=-0.5)(rows, ctx("l"))] == pytest.approx([0.0, 0.0, -0.2, -0.4, -0.5])


def test_length_of_price_zero_is_zero(make_row, ctx):
    assert Length(0.0)([make_row(tokens=1000)], ctx("l"))[0].reward("l") == 0.0


def form(text, make_row, ctx, status="finished", **settings):
    return Format(**settings)([make_row(text, status=status)], ctx("f"))[0].reward("f")


def test_format_asks_for_an_answer_whatever_it_is(make_row, ctx):
    assert form("#### wrong", make_row, ctx) == 1.0
    assert form("####", make_row, ctx) == 0.0


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("<think>a</think><answer>b</answer>", 1.0),
        ("<answer>b</answer><think>a</think>", 0.0),
        ("<think>a<answer>b</answer></think>", 0.0),
        ("<think>a</think><think>a</think><answer>b</answer>", 0.0),
        ("<think>a</think><answer>b", 0.0),
    ],
)
def test_tags_must_stand_once_closed_and_in_order(text, met, make_row, ctx):
    assert form(text, make_row, ctx, answer=None, tags=["think", "answer"]) == met


def test_pattern_spans_lines_and_truncation_fails_finished(make_row, ctx):
    assert form("a\nb", make_row, ctx, answer=None, pattern="^a.b$") == 1.0
    assert form("a\nbc", make_row, ctx, answer=None, pattern="^a.b$") == 0.0
    assert form("#### 1", make_row, ctx, status="truncated", finished=True) == 0.0
    assert form("#### 1", make_row, ctx, status="truncated") == 1.0


@pytest.mark.parametrize("settings", [{"answer": None}, {"answer": "pattern"}, {"pattern": "["}, {"answer": "boxd"}])
def test_format_refuses_what_cannot_be_meant(settings):
    with pytest.raises(UserError):
        Format(**settings)


def test_overlap_is_the_f1_of_words(make_row, ctx):
    rows = [make_row(f"#### {t}", "the red red house") for t in ("The red red HOUSE!", "red car", "blue", "red red red")]
    assert [r.reward("f1") for r in Overlap()(rows, ctx("f1"))] == pytest.approx([1.0, 2 / 6, 0.0, 4 / 7])


def test_overlap_without_a_reference_abstains(make_row, ctx):
    assert Overlap()([make_row("#### a", "...")], ctx("f1"))[0].score.statuses["f1"] == "abstain"


def test_says_reads_yes_and_no_and_abstains_on_the_rest(make_row, ctx):
    rows = [make_row(f"3+4=8?\n#### {t}") for t in ("yes", "No.", "maybe", "yes no")] + [make_row("yes")]
    out = Says()(rows, ctx("v"))
    assert [r.reward("v") for r in out] == [1.0, 0.0, None, None, None]
    assert {r.score.statuses["v"] for r in out[2:]} == {"abstain"}
    assert Says(extract="text")(rows[4:], ctx("v"))[0].reward("v") == 1.0


def test_says_refuses_words_on_both_sides():
    with pytest.raises(UserError, match="all differ"):
        Says(yes=["ok", "right"], no=["OK."])
