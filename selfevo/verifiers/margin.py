"""How sure a policy is of one answer over the next: the margin of the two likeliest candidates, without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import Extract, answer_of
from .earlier import earlier, inherited


class Margin:
    """u = p_(1) - p_(2) over the candidates of a group, the same for all its rows (TT-SI: "Self-Improving LLM Agents at Test-Time", 2025,
    arXiv:2510.07841). With l_n = log P(a_n | x):

        p_n = exp(l_n - max_j l_j) / sum_k exp(l_k - max_j l_j)

    and p_(1), p_(2) the two largest. u is 1 for a lone candidate; for two it is tanh(|l_1 - l_2| / 2). Equal replies are one candidate.
    l_n is the reward `logp`, or for sampled replies the sum of their log-probs. Summed log-probs favour short candidates; `length: mean`
    divides by the number of ids. Sampled sets hold only what was drawn, so their u lies above that of all possible replies.

    Args:
        logp: reward that holds log P of a closed list's candidates (see `rollouts.Candidates`); None reads what the sampler recorded.
        by: what a candidate is: a "reply", or a final "answer", whose probability is that of all distinct replies that give it.
        length: "sum" or "mean" of the log-probs over the ids of a reply.
    """

    scope: Literal["group"] = "group"

    def __init__(self, logp: str | None = None, by: Literal["reply", "answer"] = "reply", length: Literal["sum", "mean"] = "sum"):
        if by not in ("reply", "answer") or length not in ("sum", "mean"):
            raise UserError(f"margin: by is '{by}' and length '{length}'; expected reply or answer, and sum or mean")
        self.logp, self.by, self.length, self._extract = logp, by, length, Extract()

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows with the margin under `ctx.name`; they take the status of the first row whose log-prob is missing."""
        weights: dict[str, dict[str, float]] = {}
        for row in rows:
            value = self._logp(row, ctx)
            if value is None:
                if self.logp is not None:
                    return [inherited(r, self.logp, ctx.name) for r in rows]
                return [r.failed(ctx.name, "abstain", "a reply came without log-probs") for r in rows]
            text = row.trajectory.text
            name = text if self.by == "reply" else answer_of(row, self._extract) or ""
            weights.setdefault(name, {})[text] = value
        u = margin([_log_sum(list(replies.values())) for replies in weights.values()])
        return [row.rewarded(ctx.name, u, info={"candidates": str(len(weights))}) for row in rows]

    def _logp(self, row: Row, ctx: RunCtx) -> float | None:
        turns = [t for t in row.trajectory.turns if t.source == ("policy" if self.logp is None else "data")]
        if self.logp is not None:
            total = earlier(row, self.logp, ctx)
        else:
            known = bool(turns) and all(t.logprobs is not None for t in turns)
            total = math.fsum(x for t in turns for x in t.logprobs or ()) if known else None
        count = sum(len(t.tokens) for t in turns)
        return total if total is None or self.length == "sum" else total / max(1, count)


def margin(logps: Sequence[float]) -> float:
    """Difference of the two largest softmax weights; 1 for one candidate. It does not change when a constant is added to all."""
    top = max(logps)
    weights = sorted((math.exp(x - top) for x in logps), reverse=True)
    return (weights[0] - (weights[1] if len(weights) > 1 else 0.0)) / math.fsum(weights)


def _log_sum(values: Sequence[float]) -> float:
    top = max(values)
    return top + math.log(math.fsum(math.exp(x - top) for x in values))
