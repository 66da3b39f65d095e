"""One train stage: how many samples it fits, in how many steps, and what it holds on a GPU while it does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..learning.needs import parse
from ..spec.check import build
from .activations import Pass, activations, logits
from .launch import Launch
from .policies import Held, needs_of, versions_of
from .states import States, states
from .work import Range

BUCKET = 1 << 27
"""Most numbers in the buffer through which DeepSpeed reduces gradients, in the dtype of the weights; else a sixteenth of the model
(`learning.zero`)."""
LIVE = 1e9
"""Most parameters that stage 3 keeps gathered at once (`stage3_max_live_parameters`)."""
WHOLE = ("full", "topk", "entropy")
"""Needs for which logits become whole distributions in float32."""


@dataclass(frozen=True, slots=True)
class Row:
    """What rows look like: `group` of them have a prompt in common; tokens of that, and the most of a reply."""

    group: int
    prompt: int
    reply: int


@dataclass(frozen=True, slots=True)
class Fit:
    """A train stage. rows: of one execution; samples, steps: of one execution too. ahead: passes without gradient per sample."""

    stage: str
    policy: Held
    optimizer: Any
    how: Pass
    launch: Launch
    states: States
    rows: Range
    samples: Range
    steps: Range
    group: int
    micro: float
    responses: float
    ahead: int
    versions: frozenset[str]

    @property
    def buffers(self) -> float:
        """Bytes that DeepSpeed's collectives take."""
        live = min(LIVE, self.policy.trained) * self.how.bytes if self.launch.zero == 3 else 0.0
        bucket = min(BUCKET, self.policy.trained / 16) * self.how.bytes if self.launch.zero else 0.0
        return bucket + max(0.0, live - self.states.gathered / 2)

    @property
    def activations(self) -> float:
        """Bytes of one micro-batch."""
        return activations(self.policy.shape, self.how, self.micro)

    @property
    def logits(self) -> float:
        """Bytes of one micro-batch."""
        whole = any(parse(n, "objective").kind in WHOLE for n in needs_of(self.optimizer))
        return logits(self.policy.shape, self.how, self.responses, whole)

    @property
    def average(self) -> float:
        """Bytes of the running average of the weights."""
        return 4.0 * self.policy.trained if getattr(self.optimizer, "ema", None) is not None else 0.0


def fit(
    stage: str, node: Mapping[str, Any], policy: Held, launch: Launch, rows: Range, row: Row, changes: Mapping[str, Any]
) -> Fit | None:
    """Of an optimizer's node; None for one that is not the learner (it has no `micro_tokens`). `changes` replace settings of the learner,
    to try others."""
    learner = build(node)
    if not hasattr(learner, "micro_tokens"):
        return None
    for key, value in changes.items():
        setattr(learner, key, value)
    samples = rows * _per_row(node, row.group)
    passes = (learner.epochs * _parts(x, learner.mini_batch) for x in (samples.low, samples.high))
    steps = Range(*passes) if learner.steps is None else Range(float(learner.steps), float(learner.steps))
    longest = min(row.prompt + row.reply, policy.limit)
    micro = min(max(learner.micro_tokens, longest * (2 if _in_pairs(node) else 1)), max(samples.high, 1) * longest)
    stream = policy.shape.traits.stream and not policy.adapted and launch.zero != 3
    how = Pass(policy.width, stream, learner.gradient_checkpointing, policy.adapted, longest if policy.eager and not stream else 0)
    context = row.prompt / row.group if stream else row.prompt
    ahead = {n for n in needs_of(learner) if parse(n, "objective").ahead and (steps.high > 1 or n != "logp:old")}
    return Fit(
        stage, policy, learner, how, launch, states(policy.trained, launch, policy.half, policy.shape.largest), rows, samples, steps,
        row.group, micro, micro * row.reply / (context + row.reply), len(ahead) + int(learner.value_head), frozenset(versions_of(learner)),
    )  # fmt: skip


def _parts(samples: float, mini_batch: int | None) -> int:
    """Steps of one pass over so many samples; none without samples."""
    return math.ceil(samples / mini_batch) if mini_batch is not None else min(1, math.ceil(samples))


def _builders(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [b for b in (node.get("samples") or {}).values() if isinstance(b, Mapping)]


def _in_pairs(node: Mapping[str, Any]) -> bool:
    """Whether two samples must share a micro-batch."""
    return any(str(b.get("_target_")).endswith((".Pairs", ".SiblingPairs", ".Labelled")) for b in _builders(node))


def _per_row(node: Mapping[str, Any], group: int) -> Range:
    """Samples that the builders make of a row: one each; of a group two where its best and worst are paired; a twin for each where they
    are labelled; as few as none where some are chosen."""
    out = Range(0, 0)
    for builder in _builders(node):
        name = str(builder.get("_target_")).rpartition(".")[2]
        if name == "Pairs":
            out += Range(0, 2 / group) if builder.get("which", "best_worst") == "best_worst" else Range(0, group - 1)
        elif name == "Labelled":
            out += Range(2, 2)
        else:
            out += Range(0 if name == "Kept" else 1, 1)
    return out
