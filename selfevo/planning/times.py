"""The work of a whole run, stage by stage, and the seconds it takes at the cluster's stated utilisation.

Not counted: verifiers, files, start-up, handing weights to engines, and waiting for the longest reply of a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..roles import split_ref
from .hours import forward_flops, seconds, train_flops
from .serving import decode_seconds
from .work import NONE, Range, turns

if TYPE_CHECKING:
    from .plan import Plan
    from .training import Fit

SIZES = {("openai/gsm8k", "test"): 1319, ("HuggingFaceH4/MATH-500", "test"): 500, ("HuggingFaceH4/aime_2024", "train"): 30}
"""Tasks of the data sets that configs/eval takes whole."""


@dataclass(frozen=True, slots=True)
class Work:
    """One stage over the whole run. rows: sampled, or fitted. tokens: sampled, or passed through with gradients. steps: of an optimizer.
    generate, score, train: seconds."""

    stage: str
    kind: str
    runs: Range
    rows: Range
    tokens: Range
    steps: Range = NONE
    generate: Range = NONE
    score: Range = NONE
    train: Range = NONE

    @property
    def seconds(self) -> Range:
        """Of all its executions."""
        return self.generate + self.score + self.train


def work(plan: Plan) -> list[Work]:
    """Of every stage that a model has work in."""
    fits = {f.stage: f for f in plan.fits}
    out = []
    for name, node in plan.spec.stages.items():
        runs = plan.runs.get(name, NONE)
        if node["kind"] == "rollout":
            out.append(_sampled(plan, name, node, runs, plan.rows[name] * turns(node.get("strategy"))))
        elif node["kind"] == "evaluate":
            suite = node["suite"]
            n = suite.get("n") or _size(suite.get("source"))
            out.append(_sampled(plan, name, node, runs, Range(n, n) * float(suite.get("samples") or 1)))
        elif name in fits:
            out.append(_fitted(plan, fits[name], runs))
    return out


def _size(source: Any) -> int:
    """Tasks of a data set that is taken whole; 0 where nothing is known of it."""
    said = source if isinstance(source, Mapping) else {}
    return SIZES.get((str(said.get("path")), str(said.get("split"))), 0)


def _sampled(plan: Plan, name: str, node: Mapping[str, Any], runs: Range, replies: Range) -> Work:
    tokens = runs * replies * plan.reply
    made = Work(name, node["kind"], runs, runs * replies, tokens)
    role = plan.spec.roles.get(node.get("role") or next(iter((node.get("seats") or {}).values()), ""))
    policy = None if role is None else plan.policies.get(split_ref(role.policy)[0])
    served = None if role is None else plan.served.get(role.engine or "")
    if policy is None or served is None:
        return made
    group = int(node.get("group") or 1) if node["kind"] == "rollout" else int(node["suite"].get("samples") or 1)

    def once(rows: float) -> float:
        prefill = rows / group * plan.prompt * forward_flops(policy.shape, plan.prompt)
        decode = decode_seconds(served, policy.shape, policy.width, plan.cluster, rows, plan.prompt, plan.reply)
        return seconds(prefill, plan.cluster, served.gpus) + decode

    return Work(name, node["kind"], runs, runs * replies, tokens, generate=runs * Range(once(replies.low), once(replies.high)))


def _fitted(plan: Plan, f: Fit, runs: Range) -> Work:
    """Equal contexts pass through a stream once; elsewhere every row brings its own."""
    group = max(1.0, f.group) if f.how.stream else 1.0
    length = plan.prompt + plan.reply
    passed = f.samples * (plan.prompt / group + plan.reply)
    epochs = float(f.optimizer.epochs)
    if f.optimizer.steps is not None and f.samples.high:
        epochs = f.optimizer.steps * (f.optimizer.mini_batch or f.samples.high) / f.samples.high
    gpus, shape = plan.launch.world, f.policy.shape

    def scored(tokens: float) -> float:
        return seconds(tokens * f.ahead * forward_flops(shape, length), plan.cluster, gpus)

    def trained(tokens: float) -> float:
        return seconds(tokens * epochs * train_flops(shape, length, f.how.checkpointing), plan.cluster, gpus)

    return Work(
        f.stage, "train", runs, runs * f.samples * epochs, runs * passed * epochs, runs * f.steps,
        score=runs * Range(scored(passed.low), scored(passed.high)), train=runs * Range(trained(passed.low), trained(passed.high)),
    )  # fmt: skip


def total(parts: list[Work], what: str) -> Range:
    """Sum over stages of one of `Work`'s ranges."""
    return sum((getattr(p, what) for p in parts), NONE)
