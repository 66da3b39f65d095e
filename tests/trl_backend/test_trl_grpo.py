"""TRL's GRPO inside a train stage: it answers the tasks it is given, learns from the verifier's rewards, and is counted."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from double import exact_norms

from selfevo.advantages import GroupNorm
from selfevo.errors import UserError
from selfevo.learner import Learner
from selfevo.objectives import KL, ClippedRatio
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.samples import PolicyTurns
from selfevo.trl import Grpo

pytestmark = pytest.mark.slow

SETTINGS = {"num_generations": 4, "max_completion_length": 12, "bf16": False, "gradient_checkpointing": False, "loss_type": "grpo"}


class Digits:
    """A reward that any mix-up of rows would change: the sum of a reply's ids modulo 5. Keeps what it saw."""

    scope = "row"

    def __init__(self, broken=()):
        self.seen, self.seeds, self.broken = [], [], set(broken)

    def __call__(self, rows, ctx):
        self.seen += rows
        self.seeds.append(ctx.seed())
        return [self._judge(row, ctx.name) for row in rows]

    def _judge(self, row, name):
        if row.trajectory.keys["sample"] in self.broken:
            return row.failed(name, "error", "broken")
        return row.rewarded(name, sum(row.trajectory.turns[0].tokens) % 5 / 4)


def asked(n, group=1):
    """Rows of tasks that were read and not answered, with prompts of different lengths."""
    rows = []
    for i in range(n):
        context = tuple(range(10 + i, 14 + 2 * i))
        for g in range(group):
            t = Trajectory(
                f"a{i}.{g}", Task({"question": str(i)}), "solver", "solver@000000", (Turn("data", "", context=context),), f"e{i}.{g}",
                {"group": f"g{i}"},
            )  # fmt: skip
            rows.append(Row.of(t))
    return rows


def test_every_task_is_answered_in_order_from_its_recorded_prompt(bench):
    policy, part, ctx, rows = bench.small(), Digits(), bench.Ctx(), asked(4)
    optimizer = Grpo({"digits": part}, SETTINGS, steps=2, lr=1e-3)
    version = optimizer.update(policy, rows, ctx)
    assert version.id == "000001" and ctx.metrics["train/steps"] == 2
    assert [r.trajectory.task.id for r in part.seen] == [r.trajectory.task.id for r in rows for _ in range(4)]
    for row in part.seen:
        (turn,) = row.trajectory.turns
        assert turn.context == rows[int(row.trajectory.task.vars["question"])].trajectory.turns[0].context
        assert 1 <= len(turn.tokens) <= 12 and turn.text == policy.codec.decode(turn.tokens)
        assert (turn.finish == "stop") == policy.codec.ended(turn.tokens)
        assert row.trajectory.status == ("finished" if turn.finish == "stop" else "truncated")
    assert len({r.trajectory.id for r in part.seen}) == 16
    assert len(set(part.seeds)) == 2  # a step's draws are its own


def test_what_was_sampled_is_counted_and_recorded(bench):
    policy, part, ctx = bench.small(), Digits(), bench.Ctx()
    optimizer = Grpo({"digits": part}, SETTINGS, lr=1e-3)
    optimizer.update(policy, asked(3), ctx)
    tokens = sum(len(r.trajectory.turns[0].tokens) for r in part.seen)
    assert optimizer.sampled == tokens == ctx.metrics["rollout/generated_tokens"] == ctx.metrics["train/tokens"]
    assert ctx.metrics["rollout/prompt_tokens"] == sum(len(r.trajectory.turns[0].context) for r in part.seen)
    assert [(s.response, s.contexts["train"]) for s in optimizer.fitted] == [
        (r.trajectory.turns[0].tokens, r.trajectory.turns[0].context) for r in part.seen
    ]
    rewards = [sum(s.response) % 5 / 4 for s in optimizer.fitted]
    assert [s.columns["reward"] for s in optimizer.fitted] == rewards
    assert ctx.metrics["rollout/reward"] == pytest.approx(sum(rewards) / 12) == ctx.metrics["score/score"]
    assert ctx.metrics["train/reward"] == pytest.approx(sum(rewards) / 12, abs=1e-6)  # TRL saw the same


@pytest.mark.parametrize("beta, correct", [(0.0, None), (0.1, None), (0.1, "live")])
def test_its_step_is_the_learners_on_the_same_replies(bench, exact_step, monkeypatch, beta, correct):
    exact_norms(monkeypatch)
    policy, part = bench.small(double=True), Digits()
    base, before = bench.near(policy), bench.tensors(policy)
    ctx = bench.Ctx({"solver@base": base})
    exact_step.pop("per_device_train_batch_size"), exact_step.pop("num_train_epochs")
    settings = {**exact_step, **SETTINGS, "beta": beta, "use_bias_correction_kl": correct is not None}
    optimizer = Grpo({"digits": part}, settings, to="solver@base", micro_tokens=100)
    optimizer.update(policy, asked(3), ctx)
    theirs = {n: before[n] - p.detach() for n, p in policy.model.named_parameters()}

    rows = [replace(r, score=r.score).rewarded("score", sum(r.trajectory.turns[0].tokens) % 5 / 4) for r in part.seen]
    kl = KL("solver@base", estimator="k3", coef=beta, reduce="rows", correct=correct)
    objective = {"pg": ClippedRatio("adv", old="live", reduce="rows"), "kl": kl}
    learner = Learner({"turns": PolicyTurns()}, objective, {"adv": GroupNorm(eps=1e-4)}, clip_norm=None, lr=0.0, betas=(0.0, 0.999))
    mine = bench.Ctx({"solver@base": base})
    learner.update(bench.small(double=True), rows, mine)
    moments = learner.state_dict()["learned"]["weights"]["moments"]
    scale = max(g.abs().max().item() for g in theirs.values())
    assert scale > 1e-3
    assert mine.metrics["train/loss"] == pytest.approx(ctx.metrics["train/loss"], abs=1e-6)
    for name, gradient in theirs.items():
        assert (moments[f"model.{name}"]["exp_avg"] - gradient).abs().max() <= 1e-6 * max(1.0, scale), name


def test_equal_seeds_draw_equal_replies(bench):
    def replies(seed):
        part = Digits()
        Grpo({"digits": part}, SETTINGS, lr=1e-3).update(bench.small(), asked(2), bench.Ctx(seed=seed))
        return [r.trajectory.turns[0].tokens for r in part.seen]

    assert replies(1) == replies(1) != replies(2)


def test_a_row_the_verifier_could_not_judge_is_no_zero(bench):
    policy, part, ctx = bench.small(), Digits(broken=["0", "1"]), bench.Ctx()
    optimizer = Grpo({"digits": part}, SETTINGS, lr=1e-3)
    optimizer.update(policy, asked(3), ctx)
    good = [sum(s.response) % 5 / 4 for s in optimizer.fitted if s.keys["sample"] in ("2", "3")]
    assert ctx.metrics["score/digits_errors"] == 6 and sum("reward" in s.columns for s in optimizer.fitted) == 6
    assert ctx.metrics["train/reward"] == pytest.approx(sum(good) / 6, abs=1e-6)


def test_a_group_is_one_task(bench):
    part = Digits()
    Grpo({"digits": part}, SETTINGS, lr=1e-3).update(bench.small(), asked(2, group=3), bench.Ctx())
    assert [r.trajectory.task.vars["question"] for r in part.seen] == ["0"] * 4 + ["1"] * 4


def test_rows_without_a_recorded_prompt_are_opened_anew(bench):
    part, ctx = Digits(), bench.Ctx(opened=(5, 6, 7))
    rows = [replace(r, trajectory=replace(r.trajectory, turns=())) for r in asked(1)]
    Grpo({"digits": part}, SETTINGS, lr=1e-3).update(bench.small(), rows, ctx)
    assert {r.trajectory.turns[0].context for r in part.seen} == {(5, 6, 7)}


def test_what_cannot_be_asked_is_one_line(bench):
    def refused(match, rows, policy=None, **changes):
        options = {"args": SETTINGS, "lr": 1e-3, **changes}
        with pytest.raises(UserError, match=match) as error:
            Grpo({"digits": Digits()}, **options).update(policy or bench.small(), rows, bench.Ctx())
        assert "\n" not in str(error.value)

    refused(r"3 tasks do not make 2 equal steps", asked(3), steps=2)
    refused(r"max_completion_length 1030 are beyond the policy's", asked(1), args={**SETTINGS, "max_completion_length": 1030})
    (row,) = asked(1)
    resumed = replace(row.trajectory.task, turns=row.trajectory.turns)
    refused("goes on with a conversation", [replace(row, trajectory=replace(row.trajectory, task=resumed))])
    refused("policy 'solver' is frozen", asked(1), policy=bench.small().clone_frozen())
    refused("TRL refuses the settings: .*at least 2 generations", asked(2), args={**SETTINGS, "num_generations": 1})


def test_no_tasks_is_no_version(bench):
    optimizer = Grpo({"digits": Digits()}, SETTINGS)
    assert optimizer.update(bench.small(), [], bench.Ctx()) is None and optimizer.sampled == 0


def test_device_batches_divide_the_replies_and_respect_the_budget(bench):
    policy = bench.small()
    optimizer = Grpo({"digits": Digits()}, SETTINGS, micro_tokens=100)
    sizes = optimizer._sizes(optimizer._asked(asked(3), bench.Ctx()), policy, bench.Ctx())
    longest = max(len(r.trajectory.turns[0].context) for r in asked(3)) + 12
    assert sizes["per_device_train_batch_size"] * sizes["gradient_accumulation_steps"] == 12
    assert sizes["per_device_train_batch_size"] * longest <= 100


def test_trls_defaults_are_the_ones_written_down():
    import trl

    from selfevo.trl.grpo import BATCH, GROUP, REPLY

    defaults = {name: field.default for name, field in trl.GRPOConfig.__dataclass_fields__.items()}
    names = ("num_generations", "max_completion_length", "per_device_train_batch_size")
    assert [defaults[name] for name in names] == [GROUP, REPLY, BATCH]


def test_an_adapted_policy_has_its_reference_too(bench):
    from selfevo.models import Lora

    policy = bench.small()
    policy.model = Lora(rank=4).wrap(policy.model)
    before, ctx = bench.tensors(policy), bench.Ctx({"solver@base": policy.clone_frozen()})
    Grpo({"digits": Digits()}, {**SETTINGS, "beta": 0.1}, to="solver@base", lr=1e-2).update(policy, asked(2), ctx)
    moved = {n for n, p in policy.model.named_parameters() if not torch.equal(p, before[n])}
    assert moved and all("lora_" in n for n in moved) and list(policy.model.peft_config) == ["default"]
