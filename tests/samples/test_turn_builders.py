"""PolicyTurns and EachTurn: what is trained on, under which context, with which columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfevo.errors import UserError
from selfevo.records import Step
from selfevo.samples import EachTurn, PolicyTurns


@pytest.fixture
def conversation(make):
    """env 90 91 | policy 3 4 | env 95 | policy 5 6 7 | env 99, with consistent contexts."""
    t = make.turn
    return make(
        t("data", 90, 91), t("policy", 3, 4, context=(1, 2, 90, 91)), t("env", 95),
        t("policy", 5, 6, 7, context=(1, 2, 90, 91, 3, 4, 95)), t("env", 99), keys=[("seat", "x")],
    )  # fmt: skip


def test_a_trajectory_is_one_sample_from_its_first_to_its_last_policy_token(conversation, ctx):
    [s] = PolicyTurns().build([conversation], ctx)
    assert s.contexts == {"train": (1, 2, 90, 91)}
    assert s.response == (3, 4, 95, 5, 6, 7)
    assert s.columns["mask"] == (1, 1, 0, 1, 1, 1)
    assert s.columns["logp:sampler"] == (-0.03, -0.04, 0.0, -0.05, -0.06, -0.07)
    assert s.columns["temperature"] == 1.0
    assert s.steps == (Step(0, 2), Step(3, 6))
    assert s.row == 0
    assert {k: s.keys[k] for k in ("role", "group", "seat", "category")} == {
        "role": "solver",
        "group": "g",
        "seat": "x",
        "category": "sums",
    }
    assert s.keys["task"] == conversation.trajectory.task.id
    assert s.keys["episode"] == conversation.trajectory.episode


def test_each_trained_id_stands_after_the_ids_it_was_sampled_under(conversation, ctx):
    [s] = PolicyTurns().build([conversation], ctx)
    for turn in conversation.trajectory.turns:
        if turn.source == "policy":
            at = len(turn.context) - len(s.contexts["train"])
            assert s.contexts["train"] + s.response[:at] == turn.context
            assert s.response[at : at + len(turn.tokens)] == turn.tokens


def test_each_turn_is_a_sample_under_its_own_context(conversation, ctx):
    a, b = EachTurn().build([conversation], ctx)
    assert (a.contexts["train"], a.response) == ((1, 2, 90, 91), (3, 4))
    assert (b.contexts["train"], b.response) == ((1, 2, 90, 91, 3, 4, 95), (5, 6, 7))
    assert (a.keys["turn"], b.keys["turn"]) == ("0", "1")
    assert a.row == b.row == 0
    assert b.steps == (Step(0, 3),)


def test_on_one_turn_each_turn_equals_policy_turns(make, ctx):
    rows = [make(), make()]
    whole, each = PolicyTurns().build(rows, ctx), EachTurn().build(rows, ctx)
    assert [replace(s, id="", keys={}) for s in each] == [replace(s, id="", keys={}) for s in whole]


@pytest.mark.parametrize("builder", [PolicyTurns, EachTurn])
def test_rows_that_broke_were_filtered_or_lack_the_reward_are_dropped_and_counted(make, ctx, builder):
    rows = [make(), make(status="error"), make(keep=False), make(score=None), make(make.turn("env", 1)), make()]
    samples = builder().build(rows, ctx)
    assert [s.row for s in samples] == [0, 5]
    assert ctx.logged["train/dropped"] == 4
    assert [s.row for s in builder(reward=None).build(rows, ctx)] == [0, 3, 5]
    with pytest.raises(UserError, match="no row has a reward 'exact' \\(valid: score\\)"):
        builder(reward="exact").build(rows, ctx)


def test_a_reward_of_zero_is_a_reward(make, ctx):
    assert len(PolicyTurns().build([make(score=0.0)], ctx)) == 1


def test_sampler_logprobs_are_absent_when_a_trained_turn_has_none(make, ctx):
    t = make.turn
    row = make(t("policy", 3, context=(1,)), t("policy", 4, context=(1, 3), logprobs=False))
    [s] = PolicyTurns().build([row], ctx)
    assert "logp:sampler" not in s.columns
    a, b = EachTurn().build([row], ctx)
    assert a.columns["logp:sampler"] == (-0.03,)
    assert "logp:sampler" not in b.columns


def test_prefix_mask_leaves_the_shared_tokens_out(make, ctx):
    t = make.turn
    row = make(t("policy", 3, 4, context=(1,)), t("env", 9), t("policy", 5, 6, context=(1, 3, 4, 9)), prefix=3, parent="t9")
    [s] = PolicyTurns(prefix="mask").build([row], ctx)
    assert s.columns["mask"] == (0, 0, 0, 1, 1)
    assert s.columns["logp:sampler"] == (0, 0, 0, -0.05, -0.06)
    [e] = EachTurn(prefix="mask").build([row], ctx)
    assert e.response == (5, 6)
    [s] = PolicyTurns().build([row], ctx)
    assert s.columns["mask"] == (1, 1, 0, 1, 1)


def test_a_trajectory_that_is_all_prefix_is_dropped(make, ctx):
    row = make(make.turn("policy", 3, 4, context=(1,)), prefix=2, parent="t9")
    assert PolicyTurns(prefix="mask").build([row], ctx) == []
    assert ctx.logged["train/dropped"] == 1


def test_temperature_is_the_sampling_one_and_greedy_reads_as_one(make, ctx):
    warm = make(make.turn("policy", 3, context=(1,), temperature=0.7))
    cold = make(make.turn("policy", 3, context=(1,), temperature=0.0))
    assert [s.columns["temperature"] for s in PolicyTurns().build([warm, cold], ctx)] == [0.7, 1.0]


def test_a_given_temperature_drops_log_probs_taken_at_another(make, ctx):
    warm = make(make.turn("policy", 3, context=(1,), temperature=0.7))
    plain = make(make.turn("policy", 3, context=(1,)))
    a, b = PolicyTurns(temperature=1.0).build([warm, plain], ctx)
    assert a.columns["temperature"] == b.columns["temperature"] == 1.0
    assert "logp:sampler" not in a.columns
    assert b.columns["logp:sampler"] == (-0.03,)


def test_mixed_temperatures_are_refused_by_policy_turns_only(make, ctx):
    t = make.turn
    row = make(t("policy", 3, context=(1,), temperature=0.7), t("policy", 4, context=(1, 3), temperature=1.0))
    with pytest.raises(UserError, match=r"sampled at temperatures \[0.7, 1.0\].*EachTurn"):
        PolicyTurns().build([row], ctx)
    assert [s.columns["temperature"] for s in EachTurn().build([row], ctx)] == [0.7, 1.0]


def test_teacher_turns_are_trained_on_only_when_asked(make, ctx):
    row = make(make.turn("teacher", 8, 9))
    assert PolicyTurns().build([row], ctx) == []
    [s] = PolicyTurns(sources=["teacher"]).build([row], ctx)
    assert s.response == (8, 9)
    assert s.contexts["train"] == ctx.open("solver", row.trajectory.task)
    assert "logp:sampler" not in s.columns


def test_bad_settings_are_named():
    with pytest.raises(UserError, match="prefix must be 'train' or 'mask', got 'keep'"):
        PolicyTurns(prefix="keep")
    with pytest.raises(UserError, match="unknown source 'polcy'"):
        PolicyTurns(sources=["polcy"])
    with pytest.raises(UserError, match="temperature must be above 0, got 0"):
        EachTurn(temperature=0)
