"""Judges: scores on a scale, pairs in both orders, agreement with a reference."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from selfevo.errors import UserError
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.verifiers import Agreement, Judged, Preference, TagPairs, summary
from selfevo.verifiers.agreement import figures


def scores(texts, make_row, ctx, **settings):
    context = ctx(name="judge")
    rows = Judged(**settings)([make_row(t) for t in texts], context)
    return [row.reward("judge") for row in rows], context.logged, rows


@pytest.mark.parametrize("said, value", [(1, 0.0), (4, 1 / 3), (7, 2 / 3), (10, 1.0), (12, 1.0), (0, 0.0)])
def test_scores_of_one_to_ten(make_row, ctx, said, value):
    found, _, _ = scores([f"thinking <score>{said}</score>"], make_row, ctx)
    assert found == [pytest.approx(value)]


def test_the_last_score_counts_and_any_scale_does(make_row, ctx):
    assert scores(["<score>1</score> no: <score> 10 </score>"], make_row, ctx)[0] == [1.0]
    golf = {"pattern": r"rank (-?[\d.]+)", "worst": 5, "best": 1}
    assert scores(["rank 1", "rank 3", "rank 9", "rank -2"], make_row, ctx, **golf)[0] == [1.0, 0.5, 0.0, 1.0]


def test_what_cannot_be_read_abstains_and_is_counted_or_counts_as_told(make_row, ctx):
    texts = ["<score>10</score>", "ten!", "<score>x</score>", ""]
    found, logged, rows = scores(texts, make_row, ctx)
    assert found == [1.0, None, None, None] and logged["judge/judge/unreadable"] == 0.75
    assert summary(rows)["score/judge_abstained"] == 3.0
    assert scores(texts, make_row, ctx, otherwise=0.5)[0] == [1.0, 0.5, 0.5, 0.5]
    assert scores(["rank ..."], make_row, ctx, pattern="rank (.*)")[0] == [None]


def test_a_judge_that_always_says_ten_is_seen(make_row, ctx):
    _, always, _ = scores(["<score>10</score>"] * 8, make_row, ctx)
    assert (always["judge/judge/constant"], always["judge/judge/spread"], always["judge/judge/top"]) == (1.0, 0.0, 1.0)
    _, fair, _ = scores(["<score>10</score>", "<score>1</score>"], make_row, ctx)
    assert (fair["judge/judge/constant"], fair["judge/judge/spread"], fair["judge/judge/top"]) == (0.0, 0.5, 0.5)
    _, one, _ = scores(["<score>10</score>"], make_row, ctx)
    assert one["judge/judge/constant"] == 0.0  # one score is no pattern
    assert scores([], make_row, ctx)[1] == {}


def test_settings_of_a_scale():
    for wrong in ({"worst": 1, "best": 1}, {"otherwise": 2.0}, {"pattern": "("}):
        with pytest.raises(UserError):
            Judged(**wrong)


# pairs


def pairwise(make_row, ctx, said, count=2, **settings):
    """Rows r0, r1, ... and verdicts [(first, second, text)]; the shares of the rows and what was logged."""
    rows = [make_row(f"answer {i}") for i in range(count)]
    names = [row.trajectory.id for row in rows]
    judged = []
    for i, (a, b, text) in enumerate(said):
        task = Task({"first_id": names[a], "second_id": names[b]})
        judged.append(Row.of(Trajectory(f"j{i}", task, "judge", "judge@0", (Turn("policy", text),), "e")))
    context = ctx(name="won")
    context.rows = {"duels": judged}.__getitem__
    found = Preference("duels", **settings)(rows, context)
    return [row.reward("won") for row in found], context.logged


def test_a_pair_is_won_where_both_orders_agree(make_row, ctx):
    found, logged = pairwise(make_row, ctx, [(0, 1, "so [[A]]"), (1, 0, "so [[B]]")])
    assert found == [1.0, 0.0]
    assert logged == {"judge/won/unreadable": 0.0, "judge/won/first": 0.5, "judge/won/contradicted": 0.0, "judge/won/ties": 0.0}


def test_verdicts_that_follow_the_place_are_a_tie_and_seen(make_row, ctx):
    found, logged = pairwise(make_row, ctx, [(0, 1, "[[A]]"), (1, 0, "[[A]]")])
    assert found == [0.5, 0.5]
    assert (logged["judge/won/first"], logged["judge/won/contradicted"], logged["judge/won/ties"]) == (1.0, 1.0, 1.0)


@pytest.mark.parametrize("texts, shares", [
    (["[[C]]", "[[C]]"], [0.5, 0.5]), (["[[A]]", "[[C]]"], [0.5, 0.5]), (["[[A]]", "hm"], [1.0, 0.0]), (["hm", "[[b]]"], [1.0, 0.0]),
    (["hm", "hm"], [None, None]), (["[[D]]", "[[A]] no, [[B]]"], [1.0, 0.0]),
])  # fmt: skip
def test_ties_and_replies_that_cannot_be_read(make_row, ctx, texts, shares):
    assert pairwise(make_row, ctx, [(0, 1, texts[0]), (1, 0, texts[1])])[0] == shares


def test_shares_are_means_over_pairs_whatever_the_order_of_verdicts(make_row, ctx):
    said = [(0, 1, "[[A]]"), (1, 0, "[[B]]"), (0, 2, "[[B]]"), (2, 0, "[[A]]"), (1, 2, "[[C]]"), (2, 1, "[[C]]")]
    for seed in range(4):
        mixed = random.Random(seed).sample(said, len(said))
        assert pairwise(make_row, ctx, mixed, count=3)[0] == [0.5, 0.25, 0.75]


def test_words_of_a_verdict(make_row, ctx):
    words = {"pattern": r"better: (\w+)", "first": "one", "second": "two", "tie": "same"}
    assert pairwise(make_row, ctx, [(0, 1, "better: TWO")], **words)[0] == [0.0, 1.0]
    with pytest.raises(UserError, match="must differ"):
        Preference("duels", first="A", second="a")


# agreement


def test_agreement_by_hand():
    pairs = [(0.9, 1.0), (0.8, 1.0), (0.4, 1.0), (0.6, 0.0), (0.1, 0.0)]
    found = figures(pairs, 0.5)
    assert found["rate"] == 3 / 5 and found["bias"] == pytest.approx(-0.2 / 5)
    assert found["kappa"] == pytest.approx((0.6 - (0.6 * 0.6 + 0.4 * 0.4)) / (1 - 0.52))
    assert found["auc"] == 5 / 6
    assert figures([], 0.5) == {}


def test_a_constant_judge_knows_nothing():
    found = figures([(1.0, 1.0), (1.0, 0.0), (1.0, 0.0)], 0.5)
    assert (found["auc"], found["kappa"]) == (0.5, 0.0)
    assert "auc" not in figures([(1.0, 1.0)], 0.5) and "kappa" not in figures([(1.0, 1.0)], 0.5)


def test_agreement_only_watches(make_row, ctx):
    context = ctx(name="trust")
    rows = [make_row().rewarded("judge", j).rewarded("exact", e) for j, e in ((1.0, 1.0), (0.0, 1.0))]
    rows.append(make_row().failed("judge", "abstain", "?").rewarded("exact", 1.0))
    assert Agreement("judge", "exact")(rows, context) == rows
    assert context.logged["agreement/trust/rows"] == 2.0 and context.logged["agreement/trust/rate"] == 0.5
    with pytest.raises(UserError, match="no part before it gives the reward 'jduge'; did you mean 'judge'"):
        Agreement("jduge", "exact")(rows, context)
    assert not Agreement("judge", "exact").judges


@pytest.mark.parametrize("text, value", [
    ("<q>a</q>", 1.0), ("<q>a</q><q>b</q>", 0.5), ("<q>a", 0.0), ("", 0.0), ("</q>a<q>", 0.0), ("<q>a</q></q>", 0.0),
])  # fmt: skip
def test_tag_pairs(make_row, ctx, text, value):
    [row] = TagPairs(["q"])([make_row(text)], ctx(name="format"))
    assert row.reward("format") == value
    both = TagPairs(["q", "think"])([replace(row)], ctx(name="both"))[0]
    assert both.reward("both") == 0.0
