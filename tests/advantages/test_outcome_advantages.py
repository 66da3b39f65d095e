"""Advantages with a number per sample: hand-worked values and exact identities."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfevo.advantages import GroupNorm, LeaveOneOut, Raw, RunningBaseline, Whiten
from selfevo.errors import UserError
from selfevo.records import Row, Sample, Task, Trajectory, Turn

# Multiples of 1/8 of a moderate size, so that sums of rewards are exact and identities are not blurred by rounding.
rewards_of_a_group = st.lists(st.integers(-80, 80).map(lambda k: k / 8), min_size=2, max_size=9)


class Ctx:
    name = "outcome"

    def value(self, number):
        return float(number)


def advantages(estimator, rewards):
    rows = [Row.of(Trajectory(f"t{i}", Task({"q": 1}), "s", "p@0", (Turn("policy", "", (1,)),), "e")) for i in range(len(rewards))]
    rows = [r.rewarded("score", x) for r, x in zip(rows, rewards, strict=True)]
    return estimator([Sample(f"t{i}", (1,), {"train": ()}, row=i) for i in range(len(rewards))], rows, Ctx())


# GroupNorm


def test_group_norm_hand_worked():
    a = advantages(GroupNorm(std="population", eps=0.0), [1.0, 0.0, 0.0, 1.0])
    assert a == [1.0, -1.0, -1.0, 1.0]
    a = advantages(GroupNorm(std="sample", eps=0.0), [3.0, 1.0])  # mean 2, sample std sqrt(2)
    assert a == pytest.approx([1 / math.sqrt(2), -1 / math.sqrt(2)], abs=1e-15)
    a = advantages(GroupNorm(std="sample", eps=0.5), [4.0, 2.0, 0.0])  # sample std 2
    assert a == [2 / 2.5, 0.0, -2 / 2.5]
    assert advantages(GroupNorm(std="none"), [4.0, 2.0, 0.0]) == [2.0, 0.0, -2.0]


@given(rewards_of_a_group, st.integers(-40, 40))
@settings(max_examples=60, deadline=None)
def test_group_norm_ignores_a_shift_and_sums_to_zero(rewards, shift):
    for std in ("none", "population", "sample"):
        a = advantages(GroupNorm(std=std), rewards)
        assert advantages(GroupNorm(std=std), [r + shift for r in rewards]) == pytest.approx(a, abs=1e-9)
        assert math.fsum(a) == pytest.approx(0, abs=1e-9)


@given(rewards_of_a_group, st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_group_norm_without_eps_ignores_scale_and_flips_with_the_sign(rewards, scale):
    a = advantages(GroupNorm(eps=0.0), rewards)
    assert advantages(GroupNorm(eps=0.0), [r * scale for r in rewards]) == pytest.approx(a, abs=1e-9)
    assert advantages(GroupNorm(eps=0.0), [-r for r in rewards]) == pytest.approx([-x for x in a], abs=1e-12)


@given(rewards_of_a_group)
@settings(max_examples=60, deadline=None)
def test_sample_std_is_the_population_one_times_sqrt_of_n_minus_one_over_n(rewards):
    n = len(rewards)
    population, sample = (advantages(GroupNorm(std=s, eps=0.0), rewards) for s in ("population", "sample"))
    assert sample == pytest.approx([a * math.sqrt((n - 1) / n) for a in population], abs=1e-9)


@pytest.mark.parametrize("reward", [0.1, 0.0, -7.3, 1e6])
def test_equal_rewards_have_exactly_zero_advantage_even_without_eps(reward):
    for n in (2, 3, 7):
        for estimator in (GroupNorm(eps=0.0), GroupNorm(std="none"), LeaveOneOut(), Whiten(eps=0.0)):
            assert advantages(estimator, [reward] * n) == [0.0] * n


def test_group_of_one_has_the_singleton_advantage():
    for estimator in (GroupNorm, LeaveOneOut):
        assert advantages(estimator(), [5.0]) == [0.0]
        assert advantages(estimator(singleton=5.0), [5.0]) == [5.0]


def test_groups_do_not_touch_each_other(make, ctx):
    for estimator in (GroupNorm(), LeaveOneOut()):
        together = estimator(*make({"a": [1.0, 0.0], "b": [7.0, 3.0, 5.0]}), ctx)
        assert together[:2] == estimator(*make({"a": [1.0, 0.0]}), ctx)
        assert together[2:] == estimator(*make({"b": [7.0, 3.0, 5.0]}), ctx)


def test_the_order_of_rows_does_not_matter_to_the_last_bit(make, ctx):
    rewards = [random.Random(1).gauss(0, 1) for _ in range(50)]
    order = list(range(50))
    random.Random(2).shuffle(order)
    for estimator in (GroupNorm(), LeaveOneOut(), Whiten(), RunningBaseline()):
        straight = estimator(*make({"a": rewards}), ctx)
        if isinstance(estimator, RunningBaseline):
            estimator = RunningBaseline()
        assert estimator(*make({"a": [rewards[i] for i in order]}), ctx) == [straight[i] for i in order]


def test_by_chooses_the_group_and_an_unknown_key_is_named(make, ctx):
    samples, rows = make({"a": [1.0, 0.0], "b": [3.0, 2.0]})
    assert GroupNorm(by=["role"], std="none")(samples, rows, ctx) == [-0.5, -1.5, 1.5, 0.5]
    with pytest.raises(UserError, match="advantage 'outcome': rows have no key 'rol'; did you mean 'role'"):
        GroupNorm(by=["rol"])(samples, rows, ctx)


def test_a_trajectory_counts_once_however_many_samples_it_gave(make, ctx):
    samples, rows = make({"a": [1.0, 0.0]})
    twice = [samples[0], replace(samples[0], id="again"), samples[1]]
    assert GroupNorm(std="none")(twice, rows, ctx) == [0.5, 0.5, -0.5]
    assert LeaveOneOut()(twice, rows, ctx) == [1.0, 1.0, -1.0]


def test_over_rows_counts_rows_that_gave_no_sample(make, ctx):
    samples, rows = make({"a": [1.0, 0.0, 0.5, None]})
    assert GroupNorm(std="none")(samples[:2], rows, ctx) == [0.5, -0.5]
    assert GroupNorm(std="none", over="rows")(samples[:1], rows, ctx) == [0.5]
    assert LeaveOneOut(over="rows")(samples[:1], rows, ctx) == [0.75]


def test_a_missing_reward_is_refused_and_never_read_as_zero(make, ctx):
    samples, rows = make({"a": [1.0, None]})
    for estimator in (GroupNorm(), LeaveOneOut(), Raw(), Whiten(), RunningBaseline()):
        with pytest.raises(UserError, match="trajectory t1 has no reward 'score'"):
            estimator(samples, rows, ctx)
    with pytest.raises(UserError, match="no reward 'scor'; did you mean 'score'"):
        GroupNorm(reward="scor")(samples[:1], rows, ctx)


# LeaveOneOut, Raw, Whiten


@given(rewards_of_a_group)
@settings(max_examples=60, deadline=None)
def test_leave_one_out_is_n_over_n_minus_one_times_the_centred_reward(rewards):
    n = len(rewards)
    centred = advantages(GroupNorm(std="none"), rewards)
    assert advantages(LeaveOneOut(), rewards) == pytest.approx([n / (n - 1) * c for c in centred], abs=1e-9)


def test_leave_one_out_hand_worked():
    assert advantages(LeaveOneOut(), [1.0, 0.0, 0.0, 3.0]) == [0.0, -4 / 3, -4 / 3, 3 - 1 / 3]


def test_raw_is_the_reward_less_its_baseline():
    assert advantages(Raw(), [1.0, -2.0]) == [1.0, -2.0]
    assert advantages(Raw(baseline=0.5), [1.0, -2.0]) == [0.5, -2.5]


def test_whitened_rewards_have_mean_zero_and_deviation_one():
    a = advantages(Whiten(eps=0.0), [1.0, 4.0, 2.0, 9.0])
    assert math.fsum(a) == pytest.approx(0, abs=1e-12)
    assert math.fsum(x * x for x in a) / 4 == pytest.approx(1, abs=1e-12)


def test_whitening_one_group_is_group_norm():
    rewards = [1.0, 4.0, 2.0, 9.0]
    for std in ("none", "population", "sample"):
        assert advantages(Whiten(std=std, eps=0.1), rewards) == advantages(GroupNorm(std=std, eps=0.1), rewards)


def test_whitening_group_centred_rewards_is_the_baseline_variant_of_reinforce_pp(make, ctx):
    a = Whiten(of=GroupNorm(std="none"), eps=0.0)(*make({"a": [1.0, 0.0], "b": [3.0, 1.0]}), ctx)
    assert a == pytest.approx([v / math.sqrt(0.625) for v in (0.5, -0.5, 1.0, -1.0)], abs=1e-12)


def test_counting_tokens_weighs_samples_by_their_unmasked_length(ctx, make):
    samples, rows = make({"a": [1.0, 0.0]})
    longer = [replace(samples[0], response=(1, 2, 3, 4), columns={"mask": (1.0, 0.0, 1.0, 1.0)}), samples[1]]
    assert Whiten(std="none", count="tokens")(longer, rows, ctx) == [0.25, -0.75]
    assert Whiten(std="none")(longer, rows, ctx) == [0.5, -0.5]


# RunningBaseline


def test_running_baseline_hand_worked(make, ctx):
    after, before = RunningBaseline(decay=0.5, use="after"), RunningBaseline(decay=0.5, use="before")
    batches = [make({"a": [1.0, 3.0]}), make({"a": [4.0]})]
    assert [after(*b, ctx) for b in batches] == [[0.0, 2.0], [1.5]]  # baselines 1, 2.5
    assert [before(*b, ctx) for b in batches] == [[1.0, 3.0], [3.0]]  # 0, then 1
    warm = RunningBaseline(decay=0.5, start=None, use="before")
    assert [warm(*b, ctx) for b in batches] == [[-1.0, 1.0], [2.0]]  # 2, then 2


def test_running_baselines_of_different_keys_are_apart(make, ctx):
    apart = RunningBaseline(by=["group"], decay=0.5, use="before")
    apart(*make({"a": [2.0], "b": [8.0]}), ctx)
    assert apart(*make({"a": [0.0], "b": [0.0]}), ctx) == [-1.0, -4.0]


def test_running_baseline_state_round_trip_continues_exactly(make, ctx):
    one = RunningBaseline(by=["group"])
    one(*make({"a": [0.1, 0.7], "b": [0.3]}), ctx)
    two = RunningBaseline(by=["group"])
    two.load_state_dict(one.state_dict())
    batch = make({"a": [0.9], "b": [0.2], "c": [0.4]})
    assert one(*batch, ctx) == two(*batch, ctx)
    assert one.state_dict() == two.state_dict()
    with pytest.raises(ValueError, match="does not fit"):
        RunningBaseline(by=["role"]).load_state_dict(one.state_dict())


def test_whitening_keeps_the_state_of_what_it_wraps(make, ctx):
    one = Whiten(of=RunningBaseline())
    one(*make({"a": [1.0, 2.0]}), ctx)
    two = Whiten(of=RunningBaseline())
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict() != Whiten(of=RunningBaseline()).state_dict()
    with pytest.raises(ValueError, match="does not fit"):
        Whiten().load_state_dict(one.state_dict())


@pytest.mark.parametrize(
    "build, message",
    [
        (lambda: GroupNorm(std="smple"), "std must be 'none', 'population' or 'sample', got 'smple'"),
        (lambda: GroupNorm(eps=-1.0), "eps must not be negative"),
        (lambda: GroupNorm(over="all"), "over must be"),
        (lambda: RunningBaseline(decay=1.0), r"decay must lie in \[0, 1\), got 1.0"),
        (lambda: Whiten(count="words"), "count must be"),
    ],
)
def test_bad_settings_are_named(build, message):
    with pytest.raises(UserError, match=message):
        build()
