"""Whole plans: hand-worked memory and hours, and how they answer to settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from selfevo import spec
from selfevo.planning.cluster import GIB, GPUS, Cluster
from selfevo.planning.launch import Launch
from selfevo.planning.plan import make
from selfevo.planning.shapes import shape_of
from selfevo.planning.times import total, work

N = 4_022_468_096
NODE = Cluster(1, 8, "h100-80g")


def plan(*overrides: str, cluster: Cluster = NODE, **options: object):
    return make(spec.read(["+experiment=qwen3_4b", *overrides]), cluster, **options)  # type: ignore[arg-type]


def item(made, name: str, phase: str = "train") -> float:
    return next(getattr(i, phase) for i in made.items if i.name == name)


def test_weights_optimizer_and_gradients_of_eight_processes_by_hand():
    made = plan()
    assert item(made, "weights") == item(made, "weights", "generate") == 2 * N
    assert item(made, "optimizer") == 12 * N / 8 and item(made, "gradients") == 6 * N / 8
    assert item(made, "gradients", "generate") == 0
    assert item(made, "frozen versions") == 2 * N  # GRPO's KL to solver@base
    assert item(made, "engine", "generate") == 0.5 * GPUS["h100-80g"].memory * GIB and item(made, "engine") == 0


def test_without_a_reference_no_frozen_version_is_held():
    assert not [i for i in plan("optimizer=dr_grpo").items if i.name == "frozen versions"]
    assert not [i for i in plan("optimizer.objective.kl.coef=0.0").items if i.name == "frozen versions"]


def test_stage_3_shares_a_twin_and_the_policy_is_whole_when_engines_read_it():
    made = plan("launcher.zero=3", "optimizer.objective.kl=null")
    assert (item(made, "weights"), item(made, "weights", "generate")) == (2 * N / 8, 2 * N + 2 * N / 8)
    assert item(made, "gradients") == 4 * N / 8 + 4 * shape_of("Qwen/Qwen3-4B").largest


def test_an_engine_that_may_not_sleep_is_there_while_the_policy_trains():
    asleep, awake = plan(), plan("engine.sleep=0")
    assert awake.total("train") - asleep.total("train") == item(asleep, "engine", "generate")
    assert awake.total("generate") == asleep.total("generate")


def test_an_engine_on_gpus_of_its_own_takes_none_of_the_learners():
    made = plan("launcher.processes=4", "engine.replicas=4", "engine.gpus=[4,5,6,7]")
    assert not [i for i in made.items if i.name == "engine"] and made.gpus == 8
    assert not make(made.spec, NODE).problems


def test_the_cache_holds_what_its_share_leaves():
    (served,) = plan().served.values()
    per_token = 2 * 36 * 8 * 128 * 2
    assert served.room == (0.5 * GPUS["h100-80g"].memory * GIB - 2 * N - 2 * GIB) / per_token
    (wide,) = plan("engine.tensor_parallel=2", "engine.replicas=4").served.values()
    assert wide.weights == N and wide.room == pytest.approx((0.5 * GPUS["h100-80g"].memory * GIB - N - 2 * GIB) * 2 / per_token)


def test_an_adapter_trains_little_and_shares_its_base():
    made = plan("launcher.zero=0", "+model.lora={_target_: selfevo.models.Lora, rank: 16}")
    (policy,) = made.policies.values()
    assert item(made, "optimizer") == 8 * policy.adapter and item(made, "gradients") == 4 * policy.adapter
    assert item(made, "frozen versions") == 4 * policy.adapter
    assert item(made, "weights") == 2 * N + 4 * policy.adapter


@pytest.mark.parametrize("less, more", [
    ("optimizer.gradient_checkpointing=true", "optimizer.gradient_checkpointing=false"),
    ("optimizer.micro_tokens=8192", "optimizer.micro_tokens=16384"),
    ("launcher.zero=2", "launcher.zero=1"),
    ("launcher.offload=optimizer", "launcher.offload=none"),
    ("optimizer.ema=null", "optimizer.ema=0.99"),
])  # fmt: skip
def test_a_setting_that_saves_memory_saves_it_in_the_plan(less, more):
    assert plan(less).total("train") < plan(more).total("train")


def test_train_and_decode_seconds_by_hand():
    # one iteration of 8 rows of 100 + 300 tokens with GRPO on one GPU, no reference, nothing recomputed
    overrides = ["model=qwen3_0.6b", "scale.iterations=1", "scale.tasks=1", "scale.group=8", "scale.max_tokens=300"]
    online = ["optimizer.objective.kl=null", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]"]
    made = make(
        spec.read([*overrides, *online]),
        Cluster(1, 1, "a100-80g", training=0.5, decoding=0.5), prompt=100, reply=300,
    )  # fmt: skip
    shape = shape_of("Qwen/Qwen3-0.6B")
    layers, head = 28 * (596_049_920 - 151936 * 1024 - 1024) // 28, 151936 * 1024
    assert shape.products == layers + head
    done = {w.stage: w for w in work(made)}
    per_token = 2 * shape.products + 4 * 28 * 16 * 128 * 400 / 2
    assert done["train"].tokens.low == 100 + 8 * 300  # the prompt of the group passes once
    assert done["train"].train.low == pytest.approx((100 + 8 * 300) * 3 * per_token / (312e12 * 0.5))
    read = 2 * 596_049_920 + 8 * (2 * 28 * 8 * 128 * 2) * (100 + 150)
    prefill = 100 * (2 * shape.products + 4 * 28 * 16 * 128 * 100 / 2) / (312e12 * 0.5)
    assert done["rollout"].generate.low == pytest.approx(300 * read / (2.039e12 * 0.5) + prefill)
    assert total(list(done.values()), "seconds").low == pytest.approx(done["train"].train.low + done["rollout"].generate.low)


def test_recomputation_costs_a_third_more_and_a_reference_one_pass():
    def train(*overrides: str):
        made = plan("scale.iterations=10", *overrides)
        return next(w for w in work(made) if w.stage == "train")

    kept, again = (train(f"optimizer.gradient_checkpointing={x}") for x in ("false", "true"))
    assert again.train.low == pytest.approx(kept.train.low * 4 / 3)
    assert kept.score.low == pytest.approx(kept.train.low / 3)
    assert train("optimizer=dr_grpo").score.low == 0


def test_dapo_trains_on_what_its_filter_lets_through():
    overrides = ["optimizer=dapo", "loop=filled", "verifier=dapo", "scale.tasks=8", "scale.group=4", "scale.kept=48"]
    made = make(spec.read(overrides), Cluster(gpus=1))
    (fitted,) = made.fits
    # batches of 32 rows until 48 have a signal: at least two, at most the ten that the loop allows; less than a batch too many
    assert (made.runs["rollout"].low, made.runs["rollout"].high) == (30 * 2, 30 * 10)
    assert (fitted.rows.low, fitted.rows.high) == (48, 48 + 31)


def test_steps_are_epochs_of_mini_batches():
    (fitted,) = plan("optimizer.mini_batch=100", "optimizer.epochs=3").fits
    assert fitted.steps.low == fitted.steps.high == 3 * -(-1024 // 100)


def test_pairs_are_two_rows_of_a_group_and_share_a_micro_batch():
    (fitted,) = plan("optimizer=dpo", "optimizer.micro_tokens=1000").fits
    assert fitted.samples.high == 2 * 128
    assert fitted.micro == 2 * (256 + 4096)


def test_more_gpus_take_less_time_for_the_same_work():
    one, four = plan(), make(spec.read(["+experiment=qwen3_4b", "cluster=4x8"]), Cluster(4, 8))
    assert four.launch == replace(Launch(), processes=8, nodes=4, zero=2)
    seconds = [next(w for w in work(p) if w.stage == "train").seconds.low for p in (one, four)]
    assert seconds[1] == pytest.approx(seconds[0] / 4)


@pytest.mark.parametrize("overrides, said", [
    (["launcher.processes=9"], "launcher.processes is 9, expected at most 8, the GPUs of a node"),
    (["launcher.nodes=2", "launcher.address=a:1"], "launcher.nodes is 2, expected at most 1"),
    (["engine.replicas=5", "engine.tensor_parallel=2"], "engine: tensor_parallel x replicas is 10, expected at most 8, the GPUs of a node"),
    (["engine.tensor_parallel=3", "engine.replicas=1"], "engine.tensor_parallel is 3, expected a divisor of the 32 heads of solver"),
    (["engine.memory_share=0.1"], "engine.memory_share leaves room for 0 tokens beside 7.5 GiB of weights per GPU"),
])  # fmt: skip
def test_what_the_gpus_cannot_hold_is_named(overrides, said):
    assert said in plan(*overrides).problems


def test_a_fit_of_what_may_be_nothing_may_take_no_step():
    (fitted,) = plan("optimizer=rejection_sft").fits
    assert (fitted.samples.low, fitted.steps.low) == (0, 0) and fitted.steps.high == -(-1024 // 128)


def test_an_optimizer_that_is_not_the_learner_is_named_as_not_planned():
    made = make(spec.read(["optimizer=trl/sft", "model=qwen3_0.6b"]), Cluster(1, 1))
    assert made.unplanned == ["train"] and made.fits == []
    assert plan().unplanned == []


@pytest.mark.parametrize("overrides", [
    ["launcher.zero=2", "+model.lora={_target_: selfevo.models.Lora}"], ["launcher.zero=3", "optimizer=ppo"],
])  # fmt: skip
def test_stages_of_zero_that_the_learner_refuses_are_refused(overrides):
    assert any("adapters go with stage 0, critics with stages 0 to 2" in line for line in plan(*overrides).problems)


def test_ranks_and_engines_of_ray_take_gpus_of_their_own():
    made = make(spec.read(["+experiment=qwen3_4b", "cluster=4x8", "launcher=ray_4x8", "engine=vllm"]), Cluster(4, 8))
    assert (made.launch.processes, made.launch.nodes, made.launch.engines, made.gpus) == (8, 1, 24, 32)
    (served,) = made.served.values()
    assert served.groups == 24 and served.apart and made.problems == []
    more = make(made.spec, Cluster(3, 8))
    assert "launcher: ranks and engines take 32 GPUs, expected at most 24" in more.problems
    assert Launch.of({"ranks": 12}, 8) == Launch(processes=6, nodes=2)
    # one node trains alone, which takes four times as long; the other three sample on three times as many GPUs
    turns = make(spec.read(["+experiment=qwen3_4b", "cluster=4x8"]), Cluster(4, 8))
    seconds = {p.launch.engines: {w.stage: w.seconds.low for w in work(p)} for p in (made, turns)}
    assert seconds[24]["train"] == pytest.approx(4 * seconds[0]["train"])
    assert seconds[24]["rollout"] < seconds[0]["rollout"]
