"""Rows to samples to weights: builders and preference terms with the real Learner on a tiny random policy, in float64."""

from __future__ import annotations

import math
import random

import pytest
import torch

from selfevo import seeds
from selfevo.codec import ByteCodec
from selfevo.learner import Learner
from selfevo.objectives import DPO, IPO, KTO, NLL, SimPO
from selfevo.policies import LivePolicy
from selfevo.records import Row, Task, Trajectory, Turn, Version
from selfevo.samples import Kept, Labelled, Pairs

VOCAB, BASE = 11, "solver@base"


class Ctx:
    name, iteration, path = "", 0, "main.0/train"

    def __init__(self, base):
        self.base, self.metrics = base, {}

    def seed(self, *key):
        return seeds.derive(0, *key)

    def rng(self, *key):
        return seeds.rng(0, *key)

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.metrics[name] = value

    def progress(self, done, total, what):
        assert 0 < done <= total

    def policy(self, ref):
        assert ref == BASE
        return self.base


def fresh_policy():
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = Qwen3Config(
            vocab_size=VOCAB, hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1,
            head_dim=8, max_position_embeddings=64,
        )  # fmt: skip
        model = Qwen3ForCausalLM(config).double().eval()
    return LivePolicy("solver", model, None, ByteCodec(), Version("solver", "000000"))


def rows():
    """Four tasks, four replies each; a reply is as good as its first token is small."""
    r = random.Random(5)
    out = []
    for task in range(4):
        context = tuple(r.randrange(VOCAB) for _ in range(r.randint(2, 5)))
        for k in range(4):
            reply = (2 * k + 1, *(r.randrange(VOCAB) for _ in range(r.randint(1, 5))))
            turn = Turn("policy", "", reply, None, context, "solver@000000", 1.0, "stop")
            t = Trajectory(f"t{task}.{k}", Task({"q": task}), "solver", "solver@000000", (turn,), f"e{task}")
            out.append(Row.of(t).rewarded("score", 1.0 - k / 3))
    return out


def fit(samples, term, updates=1, lr=1e-2, flip=False, **settings):
    policy = fresh_policy()
    ctx = Ctx(policy.clone_frozen())
    given = [row.rewarded("score", -row.reward("score")) if flip else row for row in rows()]
    learner = Learner(samples={"s": samples}, objective={"loss": term}, lr=lr, clip_norm=None, shuffle=False, **settings)
    first = None
    for _ in range(updates):
        learner.update(policy, given, ctx)
        first = first or dict(ctx.metrics)
    return policy, first, ctx.metrics


def log_prob(policy, row):
    turn = row.trajectory.turns[0]
    ids = torch.tensor([turn.context + turn.tokens])
    with torch.no_grad():
        logp = policy.model(input_ids=ids).logits[0, len(turn.context) - 1 : -1].log_softmax(-1)
    return logp.gather(1, torch.tensor(turn.tokens)[:, None]).sum().item()


def gained(policy):
    """How much the log-prob of the best reply has grown against that of the worst one, task by task."""
    start, given = fresh_policy(), rows()
    change = [log_prob(policy, row) - log_prob(start, row) for row in given]
    return [change[4 * t] - change[4 * t + 3] for t in range(4)]


FITS = {
    "dpo": (Pairs(), DPO(BASE)),
    "ipo": (Pairs(), IPO(BASE)),
    "ipo_mean": (Pairs(), IPO(BASE, ratio="mean")),
    "simpo": (Pairs(), SimPO()),
    "kto": (Labelled(threshold=0.5), KTO(BASE, beta=0.5)),
}


@pytest.mark.parametrize("name", FITS)
def test_fitting_moves_every_pair_the_right_way_and_flipped_rewards_the_other(name):
    samples, term = FITS[name]
    ahead, _, _ = fit(samples, term, updates=4)
    assert min(gained(ahead)) > 0
    if name == "kto":
        samples = Labelled(threshold=-0.5)  # what 0.5 is to the flipped rewards
    back, _, _ = fit(samples, term, updates=4, flip=True)
    assert max(gained(back)) < 0


def test_the_first_losses_are_those_of_equal_policies():
    assert fit(Pairs(), DPO(BASE))[1]["train/loss"] == pytest.approx(math.log(2), abs=1e-7)  # reference log-probs are kept in float32
    assert fit(Pairs(), IPO(BASE, beta=0.5))[1]["train/loss"] == pytest.approx(1.0, abs=1e-6)
    assert fit(Labelled(threshold=0.5), KTO(BASE))[1]["train/loss"] == pytest.approx(0.5, abs=1e-7)


@pytest.mark.parametrize("name", FITS)
def test_micro_batches_do_not_change_the_weights(name):
    samples, term = FITS[name]
    whole, _, _ = fit(samples, term, updates=2, lr=1e-3)
    split, _, _ = fit(samples, term, updates=2, lr=1e-3, micro_tokens=30)
    for a, b in zip(whole.model.parameters(), split.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-9, rtol=0)


def test_watched_accuracy_reaches_one():
    _, _, last = fit(Pairs(), DPO(BASE), updates=6)
    assert last["train/loss/accuracy"] == 1.0
    assert last["train/loss/margin"] > 0


def test_rejection_fine_tuning_raises_the_kept_replies_only_by_their_likelihood():
    start = fresh_policy()
    after, first, _ = fit(Kept(low=1.0), NLL(), updates=4)
    assert first["train/samples"] == 4
    assert first["train/dropped"] == 12
    assert all(log_prob(after, row) > log_prob(start, row) for row in rows()[::4])
