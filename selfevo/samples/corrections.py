"""A right answer as the second turn after another answer to the same task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Sample
from ..spec.refs import PromptName, RoleName
from .common import check_reward, key_of
from .policy_turns import PolicyTurns

After = Literal["right", "wrong", "both"]


class Corrections:
    """Two-turn demonstrations from single answers: context (task, first answer, re-ask), response a right answer of the same group.

    Yang et al. 2024, "Confidence v.s. Critique" (arXiv:2412.19513): `after: right` are its CLT samples (keep what is right), "wrong" its
    CST samples (mend what is wrong), "both" CCT, their union. The response is another right row of the group, a seeded draw; a lone
    right row is its own second answer. Groups with no right row give nothing. With an NLL objective the loss is on the second answer only,
    for the first is context. Keys add `first` ("right" or "wrong"). Metrics: "train/after_right", "train/after_wrong" (numbers of samples).

    Args:
        role: role whose `prompt` is opened, with the first answer as {response}.
        prompt: the conversation up to the second answer.
        after: which first answers are shown.
        balance: with "both", drop (seeded) from the larger kind until they are equally many.
        reward, threshold: a row is right when this reward is at least `threshold`.
        by: keys whose values make a group.
    """

    def __init__(
        self,
        role: RoleName,
        prompt: PromptName,
        after: After = "both",
        balance: bool = True,
        reward: str = "score",
        threshold: float = 0.5,
        by: Sequence[str] = ("group",),
    ):
        if after not in ("right", "wrong", "both"):
            raise UserError(f"samples.Corrections: after must be 'right', 'wrong' or 'both', got {after!r}")
        self.role, self.prompt, self.after, self.balance = role, prompt, after, balance
        self.reward, self.threshold, self.by = reward, threshold, tuple(by)
        self._answers = PolicyTurns(reward, temperature=1.0)

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the order of their first answers."""
        check_reward(rows, self.reward, "samples.Corrections")
        answers = {s.row: s for s in self._answers.build(rows, ctx)}
        right = {i for i in answers if (rows[i].reward(self.reward) or 0.0) >= self.threshold}
        targets: dict[tuple[str, ...], list[int]] = {}
        for i in sorted(right):
            targets.setdefault(key_of(rows[i], self.by, "samples.Corrections"), []).append(i)
        chosen = self._chosen([i for i in answers if key_of(rows[i], self.by, "samples.Corrections") in targets], right, ctx)
        ctx.log("train/after_right", len(right & set(chosen)))
        ctx.log("train/after_wrong", len(set(chosen) - right))
        samples = []
        for i in chosen:
            row, mine = rows[i], targets[key_of(rows[i], self.by, "samples.Corrections")]
            others = [j for j in mine if j != i] or mine
            target = answers[ctx.rng("correction", row.trajectory.id).choice(others)]
            context = ctx.open(self.role, row.trajectory.task, self.prompt, response=row.trajectory.text)
            keys = {**answers[i].keys, "first": "right" if i in right else "wrong"}
            samples.append(replace(target.with_context("train", context), id=f"{row.trajectory.id}>{target.id}", keys=keys, row=i))
        return samples

    def _chosen(self, shown: Sequence[int], right: set[int], ctx: RunCtx) -> list[int]:
        """Rows that are shown as first answers, in order."""
        kinds = [[i for i in shown if i in right], [i for i in shown if i not in right]]
        if self.after != "both":
            return kinds[self.after == "wrong"]
        if self.balance:
            size = min(map(len, kinds))
            kinds = [ctx.rng("balance", name).sample(kind, size) for name, kind in zip(("right", "wrong"), kinds, strict=True)]
        return sorted(kinds[0] + kinds[1])
