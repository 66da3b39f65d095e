"""What a self-teacher reads besides the question: another row's solution, or the feedback on this one (SDPO)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Row, Sample
from ..spec.refs import PromptName, RoleName
from .common import check_reward, key_of
from .policy_turns import PolicyTurns


class PeerContext:
    """The samples of another builder with a second context: the question and the first OTHER successful reply of the group, or else the
    row's own attempt and its feedback ("Reinforcement Learning via Self-Distillation", 2026, arXiv:2601.20802).

    A success is a row whose `reward` is at least `threshold`. A row is never its own peer, so a lone success has none. Where there is
    neither a peer nor feedback the sample is dropped and counted in "train/no_context"; what is trained on (`train`) is left as it was
    sampled. Logs "train/peer": share of the samples that got a peer.

    Args:
        role: role whose prompts are opened.
        of: builder of the samples; `PolicyTurns()` when left out.
        context: name of the context that is set.
        peer: prompt that shows a solution as {peer}. feedback: prompt that shows the attempt as {response} and what was said of it as
            {feedback}; None: feedback is not used.
        first: which of the two wins where both are there.
        reward, threshold: what a success is.
        by: keys whose values make a group.
        forget: a regex; what it matches in a solution (thinking) is not shown.
        longest: contexts of more tokens count as none; None: no limit.
    """

    def __init__(
        self,
        role: RoleName,
        of: Builder | None = None,
        context: str = "teacher",
        peer: PromptName = "solve_peer",
        feedback: PromptName | None = None,
        first: str = "peer",
        reward: str = "score",
        threshold: Number = 0.5,
        by: Sequence[str] = ("group",),
        forget: str | None = None,
        longest: int | None = None,
    ):
        if context == "train":
            raise UserError("samples.PeerContext: context 'train' would train on what only the teacher may read; give it another name")
        if first not in ("peer", "feedback"):
            raise UserError(f"samples.PeerContext: first is '{first}'; expected 'peer' or 'feedback'")
        try:
            self.forget = None if forget is None else re.compile(forget, re.DOTALL)
        except re.error as error:
            raise UserError(f"samples.PeerContext: forget: {forget!r} is not a regular expression: {error}") from None
        self.of: Builder = PolicyTurns(reward) if of is None else of
        self.role, self.context, self.peer, self.feedback, self.first = role, context, peer, feedback, first
        self.reward, self.threshold, self.by, self.longest = reward, threshold, tuple(by), longest

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the inner builder's order."""
        check_reward(rows, self.reward, "samples.PeerContext")
        threshold, good = ctx.value(self.threshold), dict[tuple[str, ...], list[int]]()
        for i, row in enumerate(rows):
            if (r := row.reward(self.reward)) is not None and r >= threshold:
                good.setdefault(key_of(row, self.by, "samples.PeerContext"), []).append(i)
        built, out, peers = self.of.build(rows, ctx), [], 0
        for sample in built:
            row = rows[sample.row]
            peer = next((i for i in good.get(key_of(row, self.by, "samples.PeerContext"), []) if i != sample.row), None)
            said = row.score.feedback if self.feedback is not None else None
            if peer is not None and (self.first == "peer" or not said):
                ids = ctx.open(self.role, row.trajectory.task, self.peer, peer=self._shown(rows[peer]))
            elif said:
                ids = ctx.open(self.role, row.trajectory.task, self.feedback, response=self._shown(row), feedback=said)
            else:
                continue
            if self.longest is None or len(ids) <= self.longest:
                out.append(sample.with_context(self.context, ids))
                peers += peer is not None
        ctx.log("train/no_context", len(built) - len(out))
        ctx.log("train/peer", peers / len(built) if built else 0.0)
        return out

    def _shown(self, row: Row) -> str:
        text = row.trajectory.text
        return text if self.forget is None else self.forget.sub("", text).strip()
