"""TRL's trainers as optimizers: what they do to a policy, and what they leave alone."""

from __future__ import annotations

import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from selfevo.errors import TrainingError, UserError
from selfevo.samples import Labelled, Pairs, PolicyTurns
from selfevo.trl import Dpo, Kto, Reward, Sft
from selfevo.trl.reward_model import rewards

pytestmark = pytest.mark.slow

TURNS = {"turns": PolicyTurns(reward=None, temperature=1.0)}
FIT = {"per_device_train_batch_size": 4, "num_train_epochs": 2, "bf16": False, "gradient_checkpointing": False}


def equal(a, b):
    return set(a) == set(b) and all(torch.equal(a[n], b[n]) for n in a)


def test_a_supervised_fit_raises_the_likelihood_of_its_rows_in_place(bench):
    policy, rows, ctx = bench.small(), bench.ragged(8), bench.Ctx()
    parameters = {n: id(p) for n, p in policy.model.named_parameters()}
    before = bench.log_likelihood(policy, rows)
    optimizer = Sft(TURNS, FIT, lr=1e-2)
    version = optimizer.update(policy, rows, ctx)
    assert version == policy.version and (version.id, version.parents) == ("000001", ("000000",))
    assert bench.log_likelihood(policy, rows) > before
    assert {n: id(p) for n, p in policy.model.named_parameters()} == parameters
    assert ctx.metrics["train/steps"] == 4 and ctx.metrics["train/lr"] > 0 and ctx.metrics["train/epochs"] == 2
    assert [s.id for s in optimizer.fitted] == [r.trajectory.id for r in rows]


def test_nothing_of_trl_stays_on_the_policy_or_the_process(bench, capfd):
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, PartialState

    policy, rows = bench.small(), bench.ragged(4)
    accelerator = Accelerator()
    config, generation = policy.model.config.to_dict(), policy.model.generation_config.to_dict()
    module = dict(vars(policy.model))
    states = dict(PartialState._shared_state), dict(AcceleratorState._shared_state)
    draws = random.Random(0)
    random.setstate(draws.getstate())
    np.random.seed(1)
    torch.manual_seed(1)
    expected = (draws.random(), np.random.RandomState(1).random_sample(), torch.Generator().manual_seed(1).initial_seed())
    Sft(TURNS, {**FIT, "bf16": True, "gradient_checkpointing": True}).update(policy, rows, bench.Ctx())
    assert (random.random(), np.random.random_sample(), torch.initial_seed()) == expected
    assert policy.model.config.to_dict() == config and policy.model.generation_config.to_dict() == generation
    assert vars(policy.model).keys() == module.keys() and "forward" not in vars(policy.model)
    assert not policy.model.training and not policy.model.is_gradient_checkpointing and not getattr(policy.model, "model_tags", None)
    assert all(p.grad is None and p.requires_grad and p.dtype == torch.float32 for p in policy.model.parameters())
    assert (dict(PartialState._shared_state), dict(AcceleratorState._shared_state)) == states
    assert accelerator.mixed_precision == "no"
    assert "".join(capfd.readouterr()) == ""


def test_equal_seeds_give_equal_weights_and_another_seed_another_order(bench):
    def fitted(seed):
        policy = bench.small()
        Sft(TURNS, FIT, lr=1e-2).update(policy, bench.ragged(8), bench.Ctx(seed=seed))
        return bench.tensors(policy)

    assert equal(fitted(7), fitted(7))
    assert not equal(fitted(7), fitted(8))


@pytest.mark.parametrize("carry", [True, False])
def test_a_restored_optimizer_goes_on_bit_for_bit(bench, carry):
    def optimizer():
        return Sft(TURNS, FIT, lr=1e-2, carry=carry)

    rows, whole, first = bench.ragged(8), bench.small(), optimizer()
    for _ in range(2):
        first.update(whole, rows, bench.Ctx())
    half, before = bench.small(), optimizer()
    before.update(half, rows, bench.Ctx())
    state = before.state_dict()
    after = optimizer()
    after.load_state_dict(state)
    metrics = bench.Ctx()
    after.update(half, rows, metrics)
    assert equal(bench.tensors(half), bench.tensors(whole))
    assert metrics.metrics["train/steps"] == 8


def test_moments_are_carried_only_when_asked(bench):
    def second(carry):
        policy, optimizer = bench.small(), Sft(TURNS, FIT, lr=1e-2, carry=carry)
        for _ in range(2):
            optimizer.update(policy, bench.ragged(8), bench.Ctx())
        return bench.tensors(policy)

    assert not equal(second(True), second(False))


def test_a_state_that_does_not_fit_is_refused(bench):
    optimizer = Sft(TURNS, FIT)
    with pytest.raises(ValueError, match="no state of an optimizer trl/sft"):
        optimizer.load_state_dict({"learned": None})
    optimizer.load_state_dict({"fit": {"policy": "solver", "steps": 1, "moments": {"model.nowhere": {"step": torch.tensor(1.0)}}}})
    with pytest.raises(UserError, match=r"'model\.nowhere', which is not trained"):
        optimizer.update(bench.small(), bench.ragged(4), bench.Ctx())


def test_a_loss_that_is_not_finite_leaves_the_weights_as_they_were(bench):
    policy, rows = bench.small(), bench.ragged(8)
    before = bench.tensors(policy)
    with pytest.raises(TrainingError, match=r"main\.0: (loss|grad_norm) is (nan|inf) at step \d+; the weights are unchanged"):
        Sft(TURNS, {**FIT, "max_grad_norm": 0.0, "optim": "sgd"}, lr=1e18).update(policy, rows, bench.Ctx())
    assert equal(bench.tensors(policy), before) and policy.version.id == "000000"


def test_settings_that_trl_refuses_are_one_line(bench):
    with pytest.raises(UserError, match=r"main\.0: TRL refuses the settings: .*batch size must be > 1") as error:
        Kto({"labelled": Labelled()}, "solver@base", {**FIT, "per_device_train_batch_size": 1}).update(
            policy := bench.small(), bench.ragged(4), bench.Ctx({"solver@base": policy.clone_frozen()})
        )
    assert "\n" not in str(error.value)


def test_frozen_policies_and_several_processes_are_refused(bench):
    with pytest.raises(UserError, match="policy 'solver' is frozen"):
        Sft(TURNS, FIT).update(bench.small().clone_frozen(), bench.ragged(4), bench.Ctx())
    with pytest.raises(UserError, match="trains in one process"):
        Sft(TURNS, FIT).on(SimpleNamespace(count=2, zero=None))
    Sft(TURNS, FIT).on(SimpleNamespace(count=1, zero=None))


def test_no_rows_is_no_version(bench):
    assert Sft(TURNS, FIT).update(bench.small(), [], bench.Ctx()) is None
    alone = bench.ragged(4)  # groups of one make no pairs
    assert Dpo({"pairs": Pairs()}, "solver@base", FIT).update(bench.small(), alone, bench.Ctx()) is None


def test_the_reference_is_the_version_named_and_does_not_move(bench):
    policy, rows = bench.small(), bench.ragged(8, group=2)
    base = bench.near(policy)
    before = bench.tensors(base)
    ctx = bench.Ctx({"solver@base": base})
    Dpo({"pairs": Pairs()}, "solver@base", FIT, lr=1e-2).update(policy, rows, ctx)
    assert equal(bench.tensors(base), before) and "forward" not in vars(base.model)
    itself, ctx = bench.small(), bench.Ctx()
    ctx.policies["solver@current"] = itself
    one = {**FIT, "num_train_epochs": 1, "per_device_train_batch_size": 64}
    Dpo({"pairs": Pairs()}, "solver@current", one, lr=1e-2).update(itself, rows, ctx)
    assert ctx.metrics["train/loss"] == pytest.approx(math.log(2), abs=1e-6)  # the policy is its own reference
    two, ctx = bench.small(), bench.Ctx()
    ctx.policies["solver@current"] = two
    Dpo({"pairs": Pairs()}, "solver@current", {**one, "num_train_epochs": 8}, lr=1e-2).update(two, rows, ctx)
    assert ctx.metrics["train/loss"] < math.log(2)  # and stays as it was when the update began


def test_preference_fits_widen_the_margin(bench):
    rows = bench.ragged(8, group=2)
    for optimizer in (Dpo({"pairs": Pairs()}, "solver@base", FIT, lr=3e-3), Kto({"labelled": Labelled()}, "solver@base", FIT, lr=3e-3)):
        policy, ctx = bench.small(), bench.Ctx()
        ctx.policies["solver@base"] = policy.clone_frozen()
        good, bad = [r for r in rows if r.reward("score")], [r for r in rows if not r.reward("score")]
        before = bench.log_likelihood(policy, good) - bench.log_likelihood(policy, bad)
        optimizer.update(policy, rows, ctx)
        assert bench.log_likelihood(policy, good) - bench.log_likelihood(policy, bad) > before


def test_an_adapted_policy_trains_its_adapter_alone(bench):
    from selfevo.models import Lora

    policy, rows = bench.small(), bench.ragged(8, group=2)
    policy.model = Lora(rank=4).wrap(policy.model)
    base = policy.clone_frozen()
    before = bench.tensors(policy)
    Dpo({"pairs": Pairs()}, "solver@base", FIT, lr=1e-2).update(policy, rows, bench.Ctx({"solver@base": base}))
    moved = {n for n, p in policy.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora_" in n for n in moved)
    assert list(policy.model.peft_config) == ["default"]


# reward heads


def whole(rows):
    return [[*t.context, *t.tokens] for r in rows for t in r.trajectory.turns[:1]]


def pairs_of_one_turn(bench, n=8):
    return [r for r in bench.ragged(3 * n, group=2) if len(r.trajectory.turns) == 1]


def test_a_fresh_reward_model_is_indifferent_and_a_fitted_one_prefers_the_chosen(bench):
    policy, rows, ctx = bench.small(), pairs_of_one_turn(bench), bench.Ctx()
    Reward({"pairs": Pairs()}, args={**FIT, "num_train_epochs": 1, "per_device_train_batch_size": 64}, lr=1e-2).update(policy, rows, ctx)
    assert ctx.metrics["train/loss"] == pytest.approx(math.log(2), abs=1e-6)
    Reward({"pairs": Pairs()}, args={**FIT, "num_train_epochs": 20}, lr=3e-3).update(policy, rows, ctx)
    by_group = {}
    for row, r in zip(rows, rewards(policy, whole(rows)), strict=True):
        by_group.setdefault(row.group, {})[row.reward("score")] = r
    assert all(g[1.0] > g[0.0] for g in by_group.values() if len(g) == 2)


def test_a_head_alone_leaves_the_policy_speaking_as_before(bench):
    policy, rows = bench.small(), pairs_of_one_turn(bench)
    before = bench.tensors(policy)
    Reward({"pairs": Pairs()}, body=False, args=FIT, lr=1e-2).update(policy, rows, bench.Ctx())
    assert equal(bench.tensors(policy), before) and policy.heads["reward"].weight.abs().max() > 0
    assert all(p.requires_grad for p in policy.model.parameters())


def test_a_reward_head_is_saved_with_its_policy(bench, tmp_path):
    policy, rows = bench.small(), pairs_of_one_turn(bench)
    Reward({"pairs": Pairs()}, args=FIT, lr=1e-2).update(policy, rows, bench.Ctx())
    policy.save(tmp_path)
    again = bench.small(seed=5)
    again.reload(tmp_path)
    assert rewards(again, whole(rows)) == rewards(policy, whole(rows))


def test_rewards_do_not_depend_on_the_batch(bench):
    policy, rows = bench.small(), pairs_of_one_turn(bench)
    Reward({"pairs": Pairs()}, args=FIT, lr=1e-2).update(policy, rows, bench.Ctx())
    together, alone = rewards(policy, whole(rows)), [rewards(policy, [row])[0] for row in whole(rows)]
    assert together == pytest.approx(alone, abs=1e-5)
    with pytest.raises(UserError, match="has no reward head"):
        rewards(bench.small(), whole(rows))


def test_a_failed_fit_takes_its_fresh_head_back(bench):
    policy, rows = bench.small(), pairs_of_one_turn(bench)
    before = bench.tensors(policy)
    with pytest.raises(UserError, match="TRL refuses the settings"):
        Reward({"pairs": Pairs()}, args={**FIT, "fp16": True, "bf16": True}).update(policy, rows, bench.Ctx())
    assert not policy.heads and equal(bench.tensors(policy), before)
