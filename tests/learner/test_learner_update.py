"""What an update does around its loss: steps, clips, averages, skips, refuses, rolls back, continues."""

from __future__ import annotations

import copy
import math

import pytest
import torch

from selfevo.errors import TrainingError, UserError
from selfevo.objectives import KL, NLL, ClippedRatio, Distill, Entropy, PolicyGradient, ValueLoss
from selfevo.records import Row


def weights(policy):
    return {k: v.detach().clone() for k, v in policy.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class Centred:
    """A stateful advantage: each sample's column `r` against the mean of all earlier updates."""

    def __init__(self):
        self.mean, self.count = 0.0, 0

    def __call__(self, samples, rows, ctx):
        out = [s.columns["r"] - self.mean for s in samples]
        for s in samples:
            self.count += 1
            self.mean += (s.columns["r"] - self.mean) / self.count
        return out

    def state_dict(self):
        return {"mean": self.mean, "count": self.count}

    def load_state_dict(self, state):
        self.mean, self.count = state["mean"], state["count"]


def test_first_step_equals_adamw_by_hand(bench):
    samples, policy = bench.samples(4), bench.policy()
    before = weights(policy)
    learner = bench.learner(samples, {"nll": NLL()}, lr=0.01, clip_norm=None, weight_decay=0.1, adam_eps=1e-8, betas=(0.9, 0.99))
    learner.update(policy, [], bench.Context())
    moments = learner.state_dict()["learned"]["weights"]["moments"]
    for name, value in weights(policy).items():
        g = moments["model." + name]["exp_avg"] / 0.1
        decay = 0.1 if value.ndim >= 2 else 0.0
        expected = before[name] * (1 - 0.01 * decay) - 0.01 * g / (g.abs() + 1e-8)
        assert torch.allclose(value, expected, atol=2e-6)


def test_clip_scales_the_whole_gradient_to_the_norm(bench):
    samples = bench.samples(4)

    def moments(clip):
        learner = bench.learner(samples, {"nll": NLL()}, lr=0.0, clip_norm=clip, betas=(0.0, 0.9))
        ctx = bench.Context()
        learner.update(bench.policy(), [], ctx)
        state = learner.state_dict()["learned"]["weights"]["moments"]
        return torch.cat([state[n]["exp_avg"].reshape(-1) for n in sorted(state)]), ctx.metrics

    free, metrics = moments(None)
    clipped, clip_metrics = moments(0.25)
    assert clipped.norm().item() == pytest.approx(0.25, rel=1e-5)
    assert torch.allclose(clipped, free * 0.25 / free.norm(), atol=1e-7)
    assert metrics["train/grad_norm"] == clip_metrics["train/grad_norm"] == pytest.approx(free.norm().item(), rel=1e-5)
    assert (metrics["train/clipped"], clip_metrics["train/clipped"]) == (0.0, 1.0)


def test_versions_count_up_and_name_their_parent(bench):
    policy = bench.policy()
    learner = bench.learner(bench.samples(2), {"nll": NLL()})
    first = learner.update(policy, [], bench.Context())
    second = learner.update(policy, [], bench.Context())
    assert (first.id, first.parents, first.made_by) == ("000001", ("000000",), "main.0/train")
    assert (second.id, second.parents, policy.version) == ("000002", ("000001",), second)


@pytest.mark.parametrize("empty", ["no samples", "zero advantages", "all masked"])
def test_nothing_to_learn_takes_no_step(bench, empty):
    samples = [] if empty == "no samples" else [s.with_columns(adv=0.0) for s in bench.samples(3)]
    term = PolicyGradient("adv")
    if empty == "all masked":
        samples, term = [s.with_columns(mask=0.0) for s in samples], NLL()
    policy = bench.policy()
    learner = bench.learner(samples, {"pg": term, "kl": KL("solver@base", coef=0.0)}, lr=1.0, weight_decay=0.5)
    before = weights(policy)
    assert learner.update(policy, [], bench.Context()) is None  # the context knows no solver@base: coefficient 0 loads nothing
    assert same(weights(policy), before)
    assert policy.version.id == "000000"


def test_term_with_coefficient_zero_equals_its_absence(bench):
    samples = bench.sampled(bench.samples(6, adv=bench.gaussian), bench.policy())
    a, b = bench.policy(), bench.policy()
    bench.learner(samples, {"pg": ClippedRatio("adv")}, lr=1e-3).update(a, [], bench.Context())
    zero = {"pg": ClippedRatio("adv"), "kl": KL("solver@base", coef=0.0), "h": Entropy(0.0)}
    bench.learner(samples, zero, lr=1e-3).update(b, [], bench.Context())
    assert same(weights(a), weights(b))


def test_skipped_rows_count_in_denominators_and_change_nothing(bench):
    samples = bench.sampled(bench.samples(8, adv=lambda r, n: r.choice([0.0, 0.0, 1.0, -1.0])), bench.policy())
    objective = {"pg": ClippedRatio("adv", reduce="rows")}
    ctx = bench.Context()
    learner = bench.learner(samples, objective)
    learner.update(bench.policy(), [], ctx)
    silent = sum(s.columns["adv"] == 0 for s in samples)
    assert ctx.metrics["train/skipped"] == silent > 0
    skipping = bench.gradient(samples, objective)
    assert torch.allclose(skipping, bench.gradient(samples, objective, skip_zero=False), atol=1e-7)
    assert not torch.allclose(skipping, bench.gradient([s for s in samples if s.columns["adv"] != 0], objective), atol=1e-3)


def test_rows_that_another_term_needs_are_not_skipped(bench):
    samples = [s.with_columns(adv=0.0) for s in bench.samples(3)]
    ctx = bench.Context()
    assert bench.learner(samples, {"pg": PolicyGradient("adv"), "nll": NLL(where="demo")}).objective
    samples[1] = samples[1].with_columns(demo=1.0)
    samples = [s if "demo" in s.columns else s.with_columns(demo=0.0) for s in samples]
    bench.learner(samples, {"pg": PolicyGradient("adv"), "nll": NLL(where="demo")}).update(bench.policy(), [], ctx)
    assert ctx.metrics["train/skipped"] == 2
    alone = bench.gradient([samples[1]], {"nll": NLL()})
    assert torch.allclose(bench.gradient(samples, {"pg": PolicyGradient("adv"), "nll": NLL(where="demo")}), alone, atol=1e-7)


def test_mini_batches_partition_the_rows_and_keep_units(bench):
    from selfevo.learning.split import mini_batches

    samples = [s.__class__(s.id, s.response, s.contexts, unit=f"u{i // 2}", place=1 - i % 2) for i, s in enumerate(bench.samples(10))]
    batches = mini_batches(samples, 5, bench.Context().rng("x"))
    assert sorted(i for b in batches for i in b) == list(range(10))
    assert all(len(b) <= 5 for b in batches)
    for batch in batches:
        assert [samples[i].unit for i in batch[::2]] == [samples[i].unit for i in batch[1::2]]
        assert [samples[i].place for i in batch] == [0, 1] * (len(batch) // 2)


def test_micro_batches_fit_their_budget_and_keep_units(bench):
    from selfevo.learning.split import micro_batches

    samples = [s.__class__(s.id, s.response, s.contexts, unit=f"u{i % 3}") for i, s in enumerate(bench.samples(12))]
    parts = micro_batches(samples, range(12), 90)

    def size(part):
        return len(part) * max(len(samples[i].contexts["train"] + samples[i].response) for i in part)

    assert sorted(i for p in parts for i in p) == list(range(12))
    assert all(size(p) <= 90 or len({samples[i].unit for i in p}) == 1 for p in parts)
    assert all(len({n for n, p in enumerate(parts) if any(samples[i].unit == u for i in p)}) == 1 for u in ("u0", "u1", "u2"))


def test_epochs_take_the_ratio_to_the_sampler_off_one(bench):
    policy = bench.policy()
    samples = bench.sampled(bench.samples(6, adv=bench.gaussian), policy)
    one, two = bench.Context(), bench.Context()
    bench.learner(samples, {"pg": ClippedRatio("adv")}, lr=1e-3).update(bench.policy(), [], one)
    bench.learner(samples, {"pg": ClippedRatio("adv", old="old")}, lr=1e-3, epochs=3).update(policy, [], two)
    assert one.metrics["train/pg/ratio"] == pytest.approx(1.0, abs=1e-5)
    assert one.metrics["train/sampler_gap"] == pytest.approx(0.0, abs=1e-5)
    assert abs(two.metrics["train/pg/ratio"] - 1) > 1e-3
    assert two.metrics["train/pg/kl"] > 1e-5
    assert two.metrics["train/steps"] == 3


def test_recomputed_old_log_probs_equal_the_samplers(bench):
    samples = bench.sampled(bench.samples(6, adv=bench.gaussian, temperature=lambda r, n: r.choice([0.6, 1.0])), bench.policy())
    assert torch.allclose(
        bench.gradient(samples, {"pg": ClippedRatio("adv", old="old")}, bench.policy()),
        bench.gradient(samples, {"pg": ClippedRatio("adv", old="sampler")}, bench.policy()),
        atol=1e-5,
    )


def test_first_step_of_several_has_the_gradient_of_a_single_one(bench):
    """One step takes the old log-probs from its own pass, several compute them ahead: the first gradient is the same."""
    samples, objective = bench.samples(6, adv=bench.gaussian), {"pg": ClippedRatio("adv", old="old")}
    assert torch.allclose(bench.gradient(samples, objective), bench.gradient(samples, objective, epochs=2), atol=1e-6)


def test_average_follows_its_formula(bench):
    policy = bench.policy()
    learner = bench.learner(bench.samples(4), {"nll": NLL()}, lr=0.01, ema=0.8)
    expected = weights(policy)
    for _ in range(3):
        learner.update(policy, [], bench.Context())
        for k, v in weights(policy).items():
            expected[k] = 0.8 * expected[k] + 0.2 * v
    found = policy.averages["ema"].state_dict()
    assert all(torch.allclose(found[k], expected[k], atol=1e-6) for k in expected)
    assert not torch.allclose(found["lm_head.weight"], policy.model.lm_head.weight, atol=1e-4)


@pytest.mark.parametrize("schedule, expected", [
    ("constant", [1 / 3, 2 / 3, 1, 1, 1, 1, 1]),
    ("linear", [1 / 3, 2 / 3, 1, 0.75, 0.5, 0.25, 0]),
    ("cosine", [1 / 3, 2 / 3, 1, (1 + math.sqrt(0.5)) / 2, 0.5, (1 - math.sqrt(0.5)) / 2, 0]),
])  # fmt: skip
def test_schedule_over_steps(schedule, expected):
    from selfevo.learning.schedule import factor

    assert [factor(schedule, step, 2, 6) for step in range(7)] == pytest.approx(expected)


@pytest.mark.parametrize("where", ["first step", "second step"])
def test_nan_loss_names_the_samples_and_leaves_everything_as_it_was(bench, where):
    samples = [s.with_columns(r=float(i), weight=1.0) for i, s in enumerate(bench.samples(6))]
    learner = bench.learner(samples, {"nll": NLL("weight"), "pg": PolicyGradient("adv")}, advantage={"adv": Centred()},
                            lr=0.01, ema=0.5, mini_batch=3, shuffle=False)  # fmt: skip
    policy = bench.policy()
    learner.update(policy, [], bench.Context())
    state, before, average = copy.deepcopy(learner.state_dict()), weights(policy), copy.deepcopy(policy.averages["ema"].state_dict())
    bad = 1 if where == "first step" else 4
    learner.samples["given"].samples[bad] = samples[bad].with_columns(weight=float("nan"))
    with pytest.raises(TrainingError, match=rf"main.0/train: the loss is not finite on samples .*s{bad}.*; the weights are unchanged"):
        learner.update(policy, [], bench.Context())
    assert same(weights(policy), before)
    assert same(policy.averages["ema"].state_dict(), average)
    assert policy.version.id == "000001"
    assert equal_trees(learner.state_dict(), state)


def equal_trees(a, b):
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal_trees(a[k], b[k]) for k in a)
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_state_round_trip_continues_bit_for_bit(bench, dtype, tmp_path):
    samples = [s.with_columns(r=float(i)) for i, s in enumerate(bench.samples(6))]

    def make():
        objective = {"pg": PolicyGradient("adv"), "value": ValueLoss(returns="r", clip=None)}
        return bench.learner(samples, objective, advantage={"adv": Centred()}, lr=1e-3, ema=0.9, value_head=True, mini_batch=4,
                             schedule="cosine", warmup_steps=2, total_steps=20)  # fmt: skip

    straight, policy = make(), bench.policy(dtype=dtype)
    for _ in range(4):
        straight.update(policy, [], bench.Context())
    first, twin = make(), bench.policy(dtype=dtype)
    for _ in range(2):
        first.update(twin, [], bench.Context())
    torch.save(first.state_dict(), tmp_path / "state.pt")
    second, resumed = make(), bench.policy(seed=9, dtype=dtype)
    resumed.model.load_state_dict(twin.model.state_dict())
    second.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for _ in range(2):
        second.update(resumed, [], bench.Context())
    assert same(weights(resumed), weights(policy))
    assert same(resumed.averages["ema"].state_dict(), policy.averages["ema"].state_dict())
    assert same(resumed.heads["value"].state_dict(), policy.heads["value"].state_dict())
    assert equal_trees(second.state_dict(), straight.state_dict())


def test_attach_gives_a_resumed_policy_its_average_at_once(bench):
    learner, policy = bench.learner(bench.samples(3), {"nll": NLL()}, lr=0.01, ema=0.5), bench.policy()
    learner.update(policy, [], bench.Context())
    other, resumed = bench.learner(bench.samples(3), {"nll": NLL()}, lr=0.01, ema=0.5), bench.policy()
    other.load_state_dict(learner.state_dict())
    other.attach(resumed)
    assert same(resumed.averages["ema"].state_dict(), policy.averages["ema"].state_dict())


def test_state_of_another_model_is_refused(bench):
    learner = bench.learner(bench.samples(2), {"nll": NLL()})
    learner.update(bench.policy(), [], bench.Context())
    other = bench.learner(bench.samples(2), {"nll": NLL()})
    other.load_state_dict(learner.state_dict())
    with pytest.raises(ValueError, match=r"moments for 'model.model.layers.1"):
        other.update(bench.policy(layers=1), [], bench.Context())
    with pytest.raises(ValueError, match="stateful advantages"):
        bench.learner([], {"nll": NLL()}, advantage={"a": Centred()}).load_state_dict(learner.state_dict())


def test_half_precision_weights_move_by_steps_they_cannot_hold(bench):
    policy = bench.policy(dtype=torch.bfloat16)
    before = weights(policy)
    learner = bench.learner(bench.samples(4), {"nll": NLL()}, lr=1e-4, clip_norm=None)
    for _ in range(30):
        learner.update(policy, [], bench.Context())
    masters = learner.state_dict()["learned"]["weights"]["masters"]
    large = before["model.norm.weight"]  # all ones: one step of 1e-4 is far below bfloat16's spacing of 2^-7 there
    moved = masters["model.model.norm.weight"] - large.float()
    assert moved.abs().max() > 1e-3
    assert all(torch.equal(masters["model." + k].bfloat16(), v) for k, v in weights(policy).items())


def test_weights_loaded_from_outside_are_what_training_goes_on_from(bench):
    policy, other = bench.policy(dtype=torch.bfloat16), bench.policy(seed=4, dtype=torch.bfloat16)
    learner = bench.learner(bench.samples(2), {"nll": NLL()}, lr=0.0)
    learner.update(policy, [], bench.Context())
    policy.model.load_state_dict(other.model.state_dict())
    learner.update(policy, [], bench.Context())
    assert same(weights(policy), weights(other))


def test_lora_trains_the_adapter_alone(bench):
    from selfevo.models import Lora

    policy = bench.policy()
    policy.model = Lora(rank=2, alpha=4.0).wrap(policy.model)
    before = weights(policy)
    learner = bench.learner(bench.samples(4), {"nll": NLL()}, lr=0.01, ema=0.5)
    learner.update(policy, [], bench.Context())
    moved = {k for k, v in weights(policy).items() if not torch.equal(v, before[k])}
    assert moved
    assert all("lora_B" in k for k in moved)  # B starts at 0, so A has no gradient in the first step
    assert set(learner.state_dict()["learned"]["weights"]["moments"]) == {"model." + k for k in before if "lora_" in k}
    average = dict(policy.averages["ema"].named_parameters())
    for k, p in policy.model.named_parameters():
        if "lora_B" in k:
            assert torch.allclose(average[k], p / 2, atol=1e-7)
        elif "lora_" not in k:
            assert average[k].data_ptr() == p.data_ptr()


def test_gradient_checkpointing_changes_no_gradient(bench):
    samples = bench.samples(4)
    plain = bench.gradient(samples, {"nll": NLL()})
    assert torch.allclose(plain, bench.gradient(samples, {"nll": NLL()}, gradient_checkpointing=True), atol=1e-9)


def test_value_head_learns_returns_and_gives_advantages_their_column(bench):
    seen = []

    class Look:
        def __call__(self, samples, rows, ctx):
            seen.append([s.columns["value"] for s in samples])
            return [1.0 for _ in samples]

    samples = [s.with_columns(ret=0.7) for s in bench.samples(4)]
    objective = {"pg": PolicyGradient("adv"), "value": ValueLoss(returns="ret", clip=None)}
    learner = bench.learner(samples, objective, advantage={"adv": Look()}, lr=0.02, value_head=True)
    policy, errors = bench.policy(), []
    for _ in range(40):
        ctx = bench.Context()
        learner.update(policy, [], ctx)
        errors.append(ctx.metrics["train/value/error"])
    assert all(len(v) == len(s.response) for v, s in zip(seen[0], samples, strict=True))
    assert {x for v in seen[0] for x in v} == {0.0}  # the critic starts at zero
    assert errors[0] == pytest.approx(-0.7)
    assert abs(errors[-1]) < 0.2


def test_full_kl_has_the_gradient_of_the_exact_divergence(bench):
    policy, base = bench.policy(dtype=torch.float64), bench.near(bench.policy(dtype=torch.float64), 0.05)
    sample = bench.samples(1)[0]
    ours = bench.gradient([sample], {"kl": KL("solver@base", estimator="full", coef=1.0)}, policies={"solver@base": base})
    ids, start = torch.tensor([sample.contexts["train"] + sample.response]), len(sample.contexts["train"])
    p, q = (m.model(input_ids=ids).logits[0, start - 1 : -1].log_softmax(-1) for m in (policy, base))
    torch.nn.functional.kl_div(q.detach(), p, log_target=True, reduction="none").sum(-1).mean().backward()
    theirs = torch.cat([g.grad.reshape(-1) for _, g in sorted(policy.model.named_parameters(), key=lambda x: "model." + x[0])])
    assert torch.allclose(ours, theirs, atol=1e-9)
    assert theirs.abs().max() > 1e-3


def test_distilling_from_ones_own_context_is_silent_and_from_another_is_not(bench):
    samples = [s.with_context("teacher", s.contexts["train"]) for s in bench.samples(4)]
    other = [s.with_context("teacher", (5, *s.contexts["train"], 6)) for s in samples]
    for k in (None, 4):
        for side in ("teacher", "student"):
            term = {"d": Distill(k=k, side=side, divergence="reverse")}
            assert bench.gradient(samples, term).abs().max() < 1e-9
            assert bench.gradient(other, term).abs().max() > 1e-3
    assert torch.allclose(bench.gradient(other, {"d": Distill(k=None)}), bench.gradient(other, {"d": Distill(k=23)}), atol=1e-6)


def test_stats_see_the_whole_mini_batch_whatever_the_micro_batches(bench):
    from selfevo.objectives.term import BaseTerm

    class Relative(BaseTerm):
        def stats(self, batch):
            return {"mean": (batch.logp * batch.mask).sum() / batch.mask.sum()}

        def loss(self, batch, stats):
            return (batch.logp - stats["mean"]).square()

    samples = bench.samples(6, mask=bench.coin_mask)
    whole = bench.gradient(samples, {"t": Relative()})
    assert torch.allclose(whole, bench.gradient(samples, {"t": Relative()}, micro_tokens=20), atol=1e-6)


def test_advantages_see_earlier_columns_and_their_own_name(bench):
    class Double:
        def __call__(self, samples, rows, ctx):
            return [2 * s.columns["half"] for s in samples] if ctx.name == "adv" else [0.5 for _ in samples]

    samples = bench.samples(3)
    mine = bench.gradient(samples, {"pg": PolicyGradient("adv")}, advantage={"half": Double(), "adv": Double()})
    assert torch.allclose(mine, bench.gradient([s.with_columns(adv=1.0) for s in samples], {"pg": PolicyGradient("adv")}))


def test_advantages_are_given_the_log_probs_they_ask_for(bench):
    class Penalty:
        needs = frozenset({"logp:old", "logp:solver@base"})

        def __call__(self, samples, rows, ctx):
            return [sum(s.columns["logp:old"]) - sum(s.columns["logp:solver@base"]) for s in samples]

    base = bench.near(bench.policy())
    samples = bench.samples(3)
    ours = bench.gradient(samples, {"pg": PolicyGradient("adv")}, bench.policy(), {"solver@base": base}, advantage={"adv": Penalty()})
    pairs = zip(bench.sampled(samples, bench.policy()), bench.sampled(samples, base), strict=True)
    by_hand = [s.with_columns(adv=sum(s.columns["logp:sampler"]) - sum(b.columns["logp:sampler"])) for s, b in pairs]
    assert torch.allclose(ours, bench.gradient(by_hand, {"pg": PolicyGradient("adv")}, bench.policy()), atol=1e-4)


def test_dropout_is_seeded_by_the_run_and_leaves_the_global_generator_alone(bench):
    def run(seed):
        policy = bench.policy()
        for layer in policy.model.model.layers:
            layer.self_attn.attention_dropout = 0.5
        torch.manual_seed(1)
        expected = torch.random.get_rng_state()
        bench.learner(bench.samples(3), {"nll": NLL()}, lr=0.01).update(policy, [], bench.Context(seed=seed))
        assert torch.equal(torch.random.get_rng_state(), expected)
        return weights(policy)

    assert same(run(1), run(1))
    assert not same(run(1), run(2))


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda b: b.learner([], {"n": NLL()}, schedule="cosin", total_steps=3), "did you mean 'cosine'"),
        (lambda b: b.learner([], {"n": NLL()}, schedule="linear"), "total_steps, which must be given"),
        (lambda b: b.learner([], {}), "at least one entry"),
        (lambda b: b.learner([], {"n": NLL()}, epochs=0), "epochs is 0"),
        (lambda b: b.learner([], {"n": NLL()}, ema=1.5), "ema is 1.5"),
        (lambda b: b.learner([], {"v": ValueLoss()}), "objective.v: ValueLoss needs a critic: set value_head: true"),
        (lambda b: b.learner([], {"k": KL("old", estimator="full")}), "not kept; use live"),
    ],
)
def test_impossible_learners_are_refused_in_one_line(bench, make, message):
    with pytest.raises(UserError, match=message) as caught:
        make(bench)
    assert "\n" not in str(caught.value)


def test_frozen_policies_and_empty_contexts_are_refused(bench):
    learner, policy = bench.learner(bench.samples(2), {"nll": NLL()}), bench.policy()
    policy.frozen = True
    with pytest.raises(UserError, match="policy 'solver' is frozen"):
        learner.update(policy, [], bench.Context())
    sample = bench.samples(1)[0]
    bare = sample.__class__("bare", sample.response, {"train": ()})
    with pytest.raises(UserError, match="sample bare: its context 'train' is empty"):
        bench.learner([bare], {"nll": NLL()}).update(bench.policy(), [], bench.Context())
    with pytest.raises(UserError, match="has no context 'teacher'"):
        bench.learner([sample], {"d": Distill()}).update(bench.policy(), [], bench.Context())


def test_rows_reach_builders_and_advantages(bench):
    """The learner hands on the rows it was given, as they are."""
    rows: list[Row] = []

    class Look(bench.Given):
        def build(self, given, ctx):
            assert given is rows
            return super().build(given, ctx)

    from selfevo.learner import Learner

    assert Learner({"a": Look(bench.samples(1)), "b": Look(bench.samples(2))}, {"n": NLL()}).update(bench.policy(), rows, bench.Context())
