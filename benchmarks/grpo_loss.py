"""The first update on one and the same batch: TRL's own first generation, its loss and gradient beside the learner's."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from benchmarks import trl_peer
from benchmarks.context import Context
from benchmarks.figures import Figure
from benchmarks.grpo_sides import Ours, Sizes, Theirs, data
from benchmarks.workloads import row
from selfevo import spec
from selfevo.engines import Native
from selfevo.models import Pretrained
from selfevo.protocols import ScoreRequest
from selfevo.records import Row, Task

TOPIC = "grpo"
PEER = "TRL 1.16's _compute_loss"
NOISE = 0.3
"""Deviation of the log-probs of an imagined older policy, so that ratios differ from 1 and some are clipped."""


def first_generation(theirs: Theirs, folder: str) -> tuple[Any, dict[str, Tensor]]:
    """A trainer after generating its first batch, and that batch with TRL's advantages; no weight has moved."""
    made = theirs.make(folder)
    made.model.train()
    loader = iter(made.get_train_dataloader())
    return made, made._generate_and_score_completions(next(loader))


def kept(ids: Tensor, mask: Tensor) -> list[tuple[int, ...]]:
    """Ids without padding, row by row."""
    return [tuple(r[m.bool()].tolist()) for r, m in zip(ids, mask, strict=True)]


def as_rows(inputs: dict[str, Tensor], rewards: Sequence[float], group: int, live: Any) -> list[Row]:
    """TRL's batch as rows of selfevo, with the log-probs that the native engine gives its tokens."""
    prompts, replies = kept(inputs["prompt_ids"], inputs["prompt_mask"]), kept(inputs["completion_ids"], inputs["completion_mask"])
    engine = Native()
    engine.load(live)
    scores = engine.score([ScoreRequest(p, r) for p, r in zip(prompts, replies, strict=True)])
    tasks = [Task({"question": str(i)}) for i in range(len(prompts) // group)]
    return [
        row(tasks[i // group], p, r, s.logprobs.tolist(), "", reward, f"row{i}")
        for i, (p, r, s, reward) in enumerate(zip(prompts, replies, scores, rewards, strict=True))
    ]


def shifted(rows: Sequence[Row]) -> list[Row]:
    """The rows as if an older policy had drawn them: noise from a fixed seed on every log-prob."""
    rng = random.Random("older policy")
    out = []
    for r in rows:
        (turn,) = r.trajectory.turns
        logps = tuple(lp + rng.gauss(0.0, NOISE) for lp in turn.logprobs or ())
        out.append(replace(r, trajectory=replace(r.trajectory, turns=(replace(turn, logprobs=logps),))))
    return out


def old_logps(rows: Sequence[Row]) -> Tensor:
    """[B, T] as TRL reads them."""
    return trl_peer.stacked([r.trajectory.turns[0].logprobs or () for r in rows], left=False, dtype=torch.float32)


def ours_on(rows: Sequence[Row], optimizer: Any) -> tuple[float, float]:
    """Loss and gradient norm of the run's own learner on these rows, from the bundled weights."""
    ctx = Context()
    spec.build(optimizer).update(Pretrained("tiny", dtype="float32").load("solver"), rows, ctx)
    return ctx.metrics["train/loss"], ctx.metrics["train/grad_norm"]


def first_update(sizes: Sizes) -> list[Figure]:
    """Differences of loss and gradient norm: with the sampler's log-probs, and with those of an older policy."""
    one = Sizes(1, sizes.tasks, sizes.group)
    ours = Ours(one)
    ours.run()
    live = Pretrained("tiny", dtype="float32").load("solver")
    theirs = Theirs(one, data(ours.rows, one.group, live.tokenizer), 1)
    with tempfile.TemporaryDirectory() as folder:
        made, inputs = first_generation(theirs, folder)
        peer = trl_peer.Step(made)
        rows = as_rows(inputs, theirs.rewards[0], one.group, live)
        optimizer = {**ours.spec.stages["train"]["optimizer"], "samples": {"turns": {"_target_": "selfevo.samples.PolicyTurns"}}}
        out = []
        for name, given in (("first update", rows), ("with an older policy's log-probs", shifted(rows))):
            batch = inputs if given is rows else {**inputs, "old_per_token_logps": old_logps(given)}
            out += apart(name, ours_on(given, optimizer), peer.gradient(batch, 1), len(rows), int(inputs["completion_mask"].sum()))
    return out


def apart(name: str, mine: tuple[float, float], other: tuple[float, float], rows: int, tokens: int) -> list[Figure]:
    """|difference| of the losses, and of the gradient norms relative to the norm."""
    loss, norm = abs(mine[0] - other[0]), abs(mine[1] - other[1]) / other[1]
    detail = {"rows": rows, "tokens": tokens}
    more: Any = {"unit": "", "aim": 1e-5, "better": "lower", "detail": detail}
    return [
        Figure(TOPIC, f"{name}: loss apart", PEER, loss, loss, loss, mine[0], other[0], **more),
        Figure(TOPIC, f"{name}: gradient norm apart, relative", PEER, norm, norm, norm, mine[1], other[1], **more),
    ]
