"""Kept, Pairs, Labelled and SwapContext: which rows are used, with what, and under which prompt."""

from __future__ import annotations

from collections import Counter

import pytest

from selfevo.errors import UserError
from selfevo.samples import EachTurn, Kept, Labelled, Pairs, PolicyTurns, SwapContext


def rows_of(make, *scores, group="g", question="q"):
    return [make(score=s, group=group, question=question) for s in scores]


# Kept


def test_kept_takes_rewards_in_range_bounds_included(make, ctx):
    rows = rows_of(make, 0.0, 0.5, 1.0, None)
    assert [s.row for s in Kept(low=0.5).build(rows, ctx)] == [1, 2]
    assert ctx.logged["train/dropped"] == 2
    assert [s.row for s in Kept(high=0.5).build(rows, ctx)] == [0, 1]
    assert [s.row for s in Kept(of=PolicyTurns(None)).build(rows, ctx)] == [0, 1, 2]


def test_best_of_takes_the_highest_of_each_group(make, ctx):
    rows = rows_of(make, 0.1, 0.9, 0.5) + rows_of(make, 0.3, 0.2, group="h")
    assert [s.row for s in Kept(best_of=1).build(rows, ctx)] == [1, 3]
    assert [s.row for s in Kept(best_of=2).build(rows, ctx)] == [1, 2, 3, 4]
    assert [s.row for s in Kept(best_of=1, by=["role"]).build(rows, ctx)] == [1]


def test_ties_are_drawn_evenly_and_repeatably(make, ctx):
    rows = [r for g in range(300) for r in rows_of(make, 1.0, 1.0, 0.0, group=str(g))]
    kept = [s.row % 3 for s in Kept(best_of=1).build(rows, ctx)]
    assert set(kept) == {0, 1}
    assert 100 < kept.count(0) < 200
    assert kept == [s.row % 3 for s in Kept(best_of=1).build(rows, ctx)]


def test_unique_keeps_the_first_of_equal_responses_to_one_context(make, ctx):
    t = make.turn
    rows = [make(t("policy", 5, context=(1,))), make(t("policy", 5, context=(1,))), make(t("policy", 5, context=(2,)))]
    assert [s.row for s in Kept(unique=True).build(rows, ctx)] == [0, 2]


def test_fits_read_log_probs_at_temperature_one(make, ctx):
    rows = [make(make.turn("policy", 3, context=(1,), temperature=0.6), score=s) for s in (0.0, 1.0)]
    for builder in (Kept(), Pairs(), Labelled()):
        assert {s.columns["temperature"] for s in builder.build(rows, ctx)} == {1.0}


# Pairs


def test_best_is_paired_with_worst_chosen_first(make, ctx):
    rows = rows_of(make, 0.2, 1.0, 0.0, 0.5)
    chosen, rejected = Pairs().build(rows, ctx)
    assert (chosen.row, rejected.row) == (1, 2)
    assert (chosen.place, rejected.place) == (0, 1)
    assert chosen.unit == rejected.unit != ""
    assert ctx.logged["train/pairs"] == 1


def test_pairs_never_cross_groups_and_equal_rewards_make_none(make, ctx):
    rows = rows_of(make, 1.0, 0.0) + rows_of(make, 1.0, 1.0, group="h") + rows_of(make, 0.0, group="i")
    assert [s.row for s in Pairs().build(rows, ctx)] == [0, 1]


def test_the_margin_must_be_exceeded(make, ctx):
    rows = rows_of(make, 1.0, 0.5)
    assert len(Pairs(margin=0.49).build(rows, ctx)) == 2
    assert Pairs(margin=0.5).build(rows, ctx) == []


def test_all_gives_every_ordered_pair_once(make, ctx):
    rows = rows_of(make, 3.0, 1.0, 2.0)
    samples = Pairs(which="all").build(rows, ctx)
    assert {(c.row, r.row) for c, r in zip(samples[::2], samples[1::2], strict=True)} == {(0, 1), (0, 2), (2, 1)}
    assert len({s.unit for s in samples}) == 3
    assert len({s.id for s in samples}) == 6


def test_the_limit_caps_each_group_by_a_repeatable_draw(make, ctx):
    rows = rows_of(make, *range(6)) + rows_of(make, 0.0, 1.0, group="h")
    samples = Pairs(which="all", limit=4).build(rows, ctx)
    assert Counter(s.keys["group"] for s in samples) == {"g": 8, "h": 2}
    assert samples == Pairs(which="all", limit=4).build(rows, ctx)
    everything = {s.id for s in Pairs(which="all").build(rows, ctx)}
    assert {s.id for s in samples} < everything


def test_negating_the_reward_swaps_the_places(make, ctx):
    rows = rows_of(make, 0.2, 1.0)
    turned = [r.rewarded("score", -r.reward("score")) for r in rows]
    a, b = Pairs().build(rows, ctx), Pairs().build(turned, ctx)
    assert [s.row for s in a] == [1, 0]
    assert [s.row for s in b] == [0, 1]


def test_pairs_need_one_sample_per_row(make, ctx):
    t = make.turn
    rows = [make(t("policy", 3, context=(1,)), t("policy", 4, context=(1, 3)), score=s) for s in (0.0, 1.0)]
    with pytest.raises(UserError, match="several samples for one row"):
        Pairs(of=EachTurn()).build(rows, ctx)


# Labelled


def test_labels_follow_the_threshold_which_is_desirable_itself(make, ctx):
    samples = Labelled(threshold=0.5, mismatched=False).build(rows_of(make, 0.0, 0.5, 1.0), ctx)
    assert [s.columns["label"] for s in samples] == [-1.0, 1.0, 1.0]
    assert {s.columns["kl"] for s in samples} == {0.0}
    assert ctx.logged["train/desirable"] == 2 / 3


def test_with_groups_of_one_mismatching_is_the_rotation_by_one(make, ctx):
    rows = [make(make.turn("policy", 10 + k, context=(k,)), score=float(k % 2), group=str(k)) for k in range(4)]
    samples = Labelled().build(rows, ctx)
    real, twins = samples[::2], samples[1::2]
    assert [t.response for t in twins] == [real[-1].response] + [s.response for s in real[:-1]]
    assert [t.contexts for t in twins] == [s.contexts for s in real]
    assert [(t.unit, t.place) for t in twins] == [(s.unit, 1) for s in real]
    assert {(t.columns["label"], t.columns["kl"]) for t in twins} == {(0.0, 1.0)}
    assert all("logp:sampler" not in t.columns for t in twins)


def test_mismatched_responses_come_from_other_groups_where_there_are_any(make, ctx):
    rows = [make(make.turn("policy", 10 * g + k, context=(g,)), group=str(g)) for g in (1, 2) for k in range(3)]
    twins = Labelled().build(rows, ctx)[1::2]
    assert all(t.response[0] // 10 != t.contexts["train"][0] for t in twins)
    alone = Labelled().build(rows[:2], ctx)[1::2]
    assert [t.response for t in alone] == [(11,), (10,)]
    assert len(Labelled().build(rows[:1], ctx)) == 1


# SwapContext


def test_swapping_the_train_context_drops_sampler_logprobs_and_nothing_else(make, ctx):
    rows = rows_of(make, 1.0, 0.0)
    plain = PolicyTurns().build(rows, ctx)
    swapped = SwapContext(role="solver", prompt="solve").build(rows, ctx)
    assert bytes(swapped[0].contexts["train"]) == b"solver:solve:q:"
    assert [s.response for s in swapped] == [s.response for s in plain]
    assert [set(p.columns) - set(s.columns) for p, s in zip(plain, swapped, strict=True)] == [{"logp:sampler"}] * 2


def test_a_second_context_leaves_training_as_it_is(make, ctx):
    row = make(feedback="off by {one}")
    [plain] = PolicyTurns().build([row], ctx)
    swap = SwapContext(role="teacher", context="teacher", variables={"hint": "it is {answer}; {feedback}; you said {text}"})
    [s] = swap.build([row], ctx)
    assert s.contexts["train"] == plain.contexts["train"]
    assert s.columns == plain.columns
    assert bytes(s.contexts["teacher"]).endswith(f"it is 4; off by {{one}}; you said {row.trajectory.text}".encode())


def test_rows_without_what_the_prompt_needs_are_dropped_and_counted(make, ctx):
    rows = [make(feedback="good"), make()]
    samples = SwapContext(role="teacher", variables={"hint": "{feedback}"}).build(rows, ctx)
    assert [s.row for s in samples] == [0]
    assert ctx.logged["train/no_context"] == 1


def test_bad_settings_of_row_choosing_builders_are_named(make, ctx):
    with pytest.raises(UserError, match=r"low \(2\) is above high \(1\)"):
        Kept(low=2, high=1)
    with pytest.raises(UserError, match="best_of must be at least 1, got 0"):
        Kept(best_of=0)
    with pytest.raises(UserError, match="which must be"):
        Pairs(which="some")
    with pytest.raises(UserError, match="unknown field 'feedbck'; did you mean 'feedback'"):
        SwapContext(role="solver", variables={"hint": "{feedbck}"})
    with pytest.raises(UserError, match="rows have no key 'seed'"):
        Pairs(by=["seed"]).build(rows_of(make, 1.0), ctx)
