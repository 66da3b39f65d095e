"""What a node of a search tree is worth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..errors import UserError
from ..protocols import Dialogue, EpisodeCtx, Part, Seat
from ..records import Cost, Row, Task, Trajectory
from ..spec.refs import PromptName
from .together import together


@dataclass(frozen=True, slots=True)
class Place:
    """A node as its judges see it: the reply so far, whether it has ended, its depth (1 for a first step), its parent's value."""

    talk: Dialogue
    task: Task
    seat: Seat
    ended: bool
    depth: int
    above: float


@dataclass(frozen=True, slots=True)
class Worth:
    """A value and what it took to find it (tokens that no trajectory keeps are `discarded_tokens`)."""

    value: float
    cost: Cost = field(default_factory=Cost)


class NodeValue(Protocol):
    """Judges a node. It may fork the node's dialogue, never speak in it."""

    async def __call__(self, place: Place, ctx: EpisodeCtx) -> Worth:
        """The node's worth."""


def verdict(part: Part, trajectory: Trajectory, ctx: EpisodeCtx) -> float:
    """The reward a row part gives a reply. Raises ValueError where it gives none: an unknown value is not a zero."""
    [row] = part([Row.of(trajectory)], ctx)
    reward = row.reward(ctx.name)
    if reward is None:
        raise ValueError(f"a tree's verifier gave no reward: {row.score.errors.get(ctx.name, 'no reason given')}")
    return reward


class MonteCarlo:
    """Mean reward of `samples` replies that the policy completes from the node; of the reply itself where it has ended.

    Math-Shepherd's soft estimate (Wang et al. 2024, arXiv:2312.08935, section 3.3). Their tokens count as discarded.

    Args:
        part: row part that judges whole replies.
        samples: completions per node.
    """

    def __init__(self, part: Part, samples: int = 4):
        if samples < 1:
            raise UserError(f"rollouts.MonteCarlo: samples must be at least 1, got {samples}")
        if part.scope != "row":
            raise UserError("rollouts.MonteCarlo: its part must judge single rows")
        self.part, self.samples = part, samples

    async def __call__(self, place: Place, ctx: EpisodeCtx) -> Worth:
        """In the range of the part's rewards."""
        full = place.ended or place.talk.room < 1
        talks = [place.talk.fork() for _ in range(1 if full else self.samples)]
        if not full:
            await together(talk.reply("value") for talk in talks)
        done = [talk.close() for talk in talks]
        cost = Cost(sum(t.cost.prompt_tokens for t in done), 0, sum(t.cost.generated_tokens for t in done), sum(t.cost.calls for t in done))
        return Worth(math.fsum(verdict(self.part, t, ctx) for t in done) / len(done), cost)


class SelfEvaluation:
    """The probability that the policy gives to any of the words `yes` as its answer to a question about the reply so far.

    Args:
        prompt: template of the question; it may use {response} (the reply so far), {answer} (the reference: training only, since at test
            time it would give the answer away) and the task's variables.
        yes: answers that mean it is right; their probabilities are added, so none may begin another.
    """

    def __init__(self, prompt: PromptName, yes: Sequence[str] = ("yes",)):
        if not yes or any(a != b and a.startswith(b) for a in yes for b in yes):
            raise UserError(f"rollouts.SelfEvaluation: `yes` {list(yes)} must hold words none of which begins another")
        self.prompt, self.yes = prompt, tuple(yes)

    async def __call__(self, place: Place, ctx: EpisodeCtx) -> Worth:
        """In [0, 1]. Nothing is sampled."""
        said = "".join(turn.text for turn in place.talk.turns if turn.source == "policy")
        asked = [place.seat.open(place.task, self.prompt, response=said, answer=place.task.answer or "") for _ in self.yes]
        contexts = [talk.context for talk in asked]
        tokens = [talk.force(word).tokens for talk, word in zip(asked, self.yes, strict=True)]
        found = await together(ctx.logprobs(place.seat, c, t) for c, t in zip(contexts, tokens, strict=True))
        return Worth(math.fsum(math.exp(math.fsum(logprobs)) for logprobs in found))


class StepValue:
    """R = C + O: confidence in a node, and the outcome where the reply has ended (Xie et al. 2024, arXiv:2405.00451, section 2.1).

    C is the mean of what the judges in `confidence` say, divided by max(d - patience, 1) with d the depth of the parent, so that long
    replies are worth less (code); with `inherit`, a C of 0 is replaced by the parent's value (code). O is `right` or `wrong` for an ended
    reply, 0 elsewhere.

    Args:
        confidence: judges of every node, by name.
        outcome: row part that judges ended replies: right from a reward of 0.5 on.
        right, wrong: O of an ended reply.
        patience, inherit: see above.
    """

    def __init__(
        self,
        confidence: Mapping[str, NodeValue],
        outcome: Part,
        right: float = 1.0,
        wrong: float = -1.0,
        patience: int = 3,
        inherit: bool = True,
    ):
        if not confidence:
            raise UserError("rollouts.StepValue: `confidence` names no judge; expected for example {success: {_target_: ...MonteCarlo}}")
        self.confidence, self.outcome, self.right, self.wrong = dict(confidence), outcome, right, wrong
        self.patience, self.inherit = patience, inherit

    async def __call__(self, place: Place, ctx: EpisodeCtx) -> Worth:
        """Confidence plus outcome."""
        found = await together(judge(place, ctx) for judge in self.confidence.values())
        value = math.fsum(worth.value for worth in found) / len(found) / max(place.depth - 1 - self.patience, 1)
        if value == 0 and self.inherit:
            value = place.above
        if place.ended:
            value += self.right if verdict(self.outcome, place.talk.fork().close(), ctx) >= 0.5 else self.wrong
        return Worth(value, sum((worth.cost for worth in found), Cost()))
