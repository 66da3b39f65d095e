"""Learners of several train stages that step one AdamW."""

from __future__ import annotations

import pytest
import torch

from selfevo.errors import UserError
from selfevo.learning.sharing import join
from selfevo.objectives import NLL, PolicyGradient

SETTINGS = {"lr": 1e-2, "betas": (0.9, 0.95), "clip_norm": None}


def pair(bench, **settings):
    """(train, improve): learners of two batches, the second on the first's AdamW."""
    samples = bench.samples(8, adv=bench.gaussian)
    train = bench.learner(samples[:4], {"pg": PolicyGradient("adv")}, **SETTINGS)
    improve = bench.learner(samples[4:], {"pg": PolicyGradient("adv")}, **{**SETTINGS, "shares": "train", **settings})
    return train, improve


def weights(policy):
    return {k: v.clone() for k, v in policy.model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[k], b[k]) for k in a)


def test_two_learners_on_one_adamw_are_one_learner_that_sees_both_batches(bench):
    train, improve = pair(bench)
    assert list(join({"improve": ("solver", improve), "train": ("solver", train)})) == []
    both, one = bench.policy(), bench.policy()
    single = bench.learner(train.samples["given"].samples, {"pg": PolicyGradient("adv")}, **SETTINGS)
    ctx = bench.Context()
    for _ in range(3):
        for learner in (improve, train):
            learner.update(both, [], ctx)
            single.samples = learner.samples
            single.update(one, [], ctx)
    assert same(weights(both), weights(one))
    assert train.state_dict()["learned"]["weights"]["steps"] == 6
    apart, alone = pair(bench, shares=None), bench.policy()
    for _ in range(3):
        for learner in apart[::-1]:
            learner.update(alone, [], ctx)
    assert not same(weights(alone), weights(one))


@pytest.mark.parametrize("first", ["train", "improve"])
def test_the_owner_keeps_the_state_and_a_restored_pair_goes_on_bit_for_bit(bench, first):
    train, improve = pair(bench)
    list(join({"improve": ("solver", improve), "train": ("solver", train)}))
    policy, ctx = bench.policy(), bench.Context()
    improve.update(policy, [], ctx)
    train.update(policy, [], ctx)
    saved = {"train": train.state_dict(), "improve": improve.state_dict()}
    assert saved["improve"]["learned"] is None
    at = weights(policy)
    improve.update(policy, [], ctx)

    again = bench.policy()
    again.model.load_state_dict(at)
    fresh = dict(zip(("train", "improve"), pair(bench), strict=True))
    list(join({name: ("solver", learner) for name, learner in fresh.items()}))
    for name in (first, "train", "improve"):  # whichever is restored first
        fresh[name].load_state_dict(saved[name])
        fresh[name].attach(again)
    fresh["improve"].update(again, [], ctx)
    assert same(weights(again), weights(policy))


def test_an_update_that_fails_leaves_the_shared_moments_as_they_were(bench):
    from selfevo.errors import TrainingError

    train, improve = pair(bench, mini_batch=2, shuffle=False)
    list(join({"improve": ("solver", improve), "train": ("solver", train)}))
    policy, ctx = bench.policy(), bench.Context()
    train.update(policy, [], ctx)
    before, at = train.state_dict()["learned"]["weights"], weights(policy)
    bad = improve.samples["given"].samples
    bad[3] = bad[3].with_columns(adv=float("nan"))
    with pytest.raises(TrainingError, match="not finite"):
        improve.update(policy, [], ctx)
    after = train.state_dict()["learned"]["weights"]
    assert same(weights(policy), at) and after["steps"] == before["steps"] == 1
    assert all(torch.equal(after["moments"][n]["exp_avg"], m["exp_avg"]) for n, m in before["moments"].items())


@pytest.mark.parametrize("change, why", [
    ({"betas": (0.9, 0.999)}, "betas is .* here and .* in the stage"), ({"weight_decay": 0.1}, "weight_decay"), ({"ema": 0.9}, "ema"),
    ({"shares": "trian"}, "no other stage that trains a policy is named 'trian'; did you mean 'train'"),
    ({"shares": "improve"}, "no other stage"),
])  # fmt: skip
def test_what_cannot_be_shared_is_said_in_one_line(bench, change, why):
    train, improve = pair(bench, **change)
    ((stage, message),) = join({"improve": ("solver", improve), "train": ("solver", train)})
    assert stage == "improve"
    with pytest.raises(UserError, match=why):
        raise UserError(message)


def test_neither_another_policys_nor_a_shared_one_nor_a_text_optimizers(bench):
    train, improve = pair(bench)
    assert [m for _, m in join({"improve": ("judge", improve), "train": ("solver", train)})] == [
        "stage 'train' trains policy 'solver', not 'judge'"
    ]
    third = bench.learner(bench.samples(2), {"nll": NLL()}, **SETTINGS, shares="improve")
    (found,) = join({"improve": ("solver", improve), "train": ("solver", train), "third": ("solver", third)})
    assert found == ("third", "the stage it shares with shares one itself: name 'train'")
    (found,) = join({"improve": ("solver", improve), "train": ("solver", object())})
    assert found[1] == "the optimizer of stage 'train' (object) has no state that can be shared"
