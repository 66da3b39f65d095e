"""Learning from the token distributions of a teacher: another policy, or the same one under another context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .clipped_ratio import sampler_weight
from .term import BaseTerm, Reduce, check_choice, check_number, check_reduce, log_ratio, needed, needed_parts

if TYPE_CHECKING:
    from torch import Tensor


class Distill(BaseTerm):
    """Divergence of student S = pi_theta(. | train context) from teacher T, per token of the response.

    forward = KL(T || S), Hinton et al. 2015; reverse = KL(S || T), Gu et al. 2024 (MiniLLM), eq. 2;
    jsd = w KL(T || M) + (1 - w) KL(S || M) with M = w T + (1 - w) S, Agarwal et al. 2024 (GKD), eq. 1.
    sampled = stopgrad(log S(y) - log T(y)) log S(y) on the sampled token y alone: for y drawn from S its gradient has the mean of
    reverse's. SDPO (2026, arXiv:2601.20802) writes alpha for what is w here: alpha 0 is forward, 1 reverse, anything between jsd.
    With `k`, both distributions are cut to the K likeliest tokens of one side and a rest that holds the other mass: by the
    log-sum inequality that is a lower bound of the full divergence.

    Token weights, without gradient: min(exp(clamp(log pi_theta - log pi_old, -20, 20)), `cap`) where `old` is given, times
    min(pi_old / pi_sampler, `truncate`) where that is.

    Args:
        to: the teacher's policy: a reference ("teacher@base"), or "live" for the present weights without gradient.
        context: the teacher's context of the sample ("train": the same text; "teacher": what a builder attached).
        divergence: "forward", "reverse", "jsd" or "sampled" (which `k` does not concern).
        weight: w of jsd, strictly between 0 and 1.
        k: tokens kept per position; None keeps the vocabulary (logits of both sides stay in memory).
        side: whose K likeliest tokens are kept, "teacher" or "student".
        tail: False leaves the rest out and renormalises both sides over the K tokens.
        trust: c of SDPO's trust-region teacher, whose logits are (1 - c) those of `to` plus c those of the present weights, both under
            `context`. Needs k: null. None: the teacher is `to` alone.
        old, cap, truncate: see above; `old` as in `ClippedRatio`.
        coef, reduce, length, where: see `term.BaseTerm`.
    """

    def __init__(
        self,
        to: str = "live",
        context: str = "teacher",
        divergence: Literal["forward", "reverse", "jsd", "sampled"] = "reverse",
        weight: float = 0.5,
        k: int | None = 20,
        side: Literal["teacher", "student"] = "teacher",
        tail: bool = True,
        trust: float | None = None,
        old: str | None = None,
        cap: Number = 2.0,
        truncate: Number | None = None,
        coef: Number = 1.0,
        reduce: Reduce = "tokens",
        length: float | None = None,
        where: str | None = None,
    ):
        check_reduce("Distill", reduce, length)
        check_choice("Distill", "divergence", divergence, ("forward", "reverse", "jsd", "sampled"))
        check_choice("Distill", "side", side, ("teacher", "student"))
        if not 0 < weight < 1:
            raise UserError(f"Distill: weight is {weight}, expected strictly between 0 and 1 (use forward or reverse for the limits)")
        if k is not None and k < 1:
            raise UserError(f"Distill: k is {k}, expected at least 1")
        check_number("Distill", "cap", cap)
        check_number("Distill", "truncate", truncate)
        if truncate is not None and old in (None, "sampler"):
            raise UserError("Distill: truncate corrects from the sampler to `old`, so old must be given and not be 'sampler'")
        if trust is not None and (not 0 <= trust <= 1 or k is not None or divergence == "sampled"):
            raise UserError(f"Distill: trust is {trust}; expected 0 to 1, with k: null and a divergence over the vocabulary")
        self.divergence, self.weight, self.k, self.tail, self.trust = divergence, weight, k, tail, trust
        self.old, self.cap, self.truncate = old, cap, truncate
        self.coef, self.reduce, self.length, self.where = coef, reduce, length, where
        if divergence == "sampled":
            self._need = f"logp:{to}:{context}"
        else:
            self._need = f"full:{to}:{context}" if k is None else f"topk:{context}:{to}:{k}:{side}"
        ratio = {f"logp:{old}"} if old is not None else set()
        self._near = f"full:live:{context}"
        ratio |= {self._near} if trust is not None else set()
        self.needs = frozenset({self._need} | ratio | ({"logp:sampler"} if truncate is not None else set()))

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        loss = self.divergences(batch)
        if self.old is not None:
            loss = loss * log_ratio(batch, self.old).detach().clamp(-20, 20).exp().clamp(max=batch.value(self.cap))
            if self.truncate is not None:
                loss = loss * sampler_weight(batch, self.old, batch.value(self.truncate))
        return loss

    def divergences(self, batch: Batch) -> Tensor:
        """[B, T] the divergence, unweighted."""
        import torch

        if self.divergence == "sampled":
            return (batch.logp.detach() - needed(batch, self._need)) * batch.logp
        parts = needed_parts(batch, self._need)
        if self.k is None:
            S, T = parts["student"], parts["teacher"]
            if self.trust is not None:
                T = ((1 - self.trust) * T + self.trust * needed_parts(batch, self._near)["teacher"]).log_softmax(-1)
        elif self.tail:
            S = torch.cat([parts["student"], parts["student_tail"].unsqueeze(-1)], -1)
            T = torch.cat([parts["logp"], parts["tail"].unsqueeze(-1)], -1)
        else:
            S, T = parts["student"].log_softmax(-1), parts["logp"].log_softmax(-1)
        if self.divergence == "forward":
            return relative_entropy(T, S)
        if self.divergence == "reverse":
            return relative_entropy(S, T)
        w = torch.as_tensor(self.weight, dtype=S.dtype, device=S.device)
        M = torch.logaddexp(T + w.log(), S + (1 - w).log())
        return w * relative_entropy(T, M) + (1 - w) * relative_entropy(S, M)


def relative_entropy(p: Tensor, q: Tensor) -> Tensor:
    """KL(p || q) [...] of log-probs [..., K]."""
    return (p.exp() * (p - q)).sum(-1)
