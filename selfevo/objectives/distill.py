"""Learning from the token distributions of a teacher: another policy, or the same one under another context."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_choice, check_reduce, needed_parts

if TYPE_CHECKING:
    from torch import Tensor


class Distill(BaseTerm):
    """Divergence of student S = pi_theta(. | train context) from teacher T, per token of the response.

    forward = KL(T || S), Hinton et al. 2015; reverse = KL(S || T), Gu et al. 2024 (MiniLLM), eq. 2;
    jsd = w KL(T || M) + (1 - w) KL(S || M) with M = w T + (1 - w) S, Agarwal et al. 2024 (GKD), eq. 1.
    With `k`, both distributions are cut to the K likeliest tokens of one side and a rest that holds the other mass: by the
    log-sum inequality that is a lower bound of the full divergence.

    Args:
        to: the teacher's policy: a reference ("teacher@base"), or "live" for the present weights without gradient.
        context: the teacher's context of the sample ("train": the same text; "teacher": what a builder attached).
        divergence: "forward", "reverse" or "jsd".
        weight: w of jsd, strictly between 0 and 1.
        k: tokens kept per position; None keeps the vocabulary (logits of both sides stay in memory).
        side: whose K likeliest tokens are kept, "teacher" or "student".
        coef, reduce, length, where: see `term.BaseTerm`.
    """

    def __init__(
        self,
        to: str = "live",
        context: str = "teacher",
        divergence: Literal["forward", "reverse", "jsd"] = "reverse",
        weight: float = 0.5,
        k: int | None = 20,
        side: Literal["teacher", "student"] = "teacher",
        coef: Number = 1.0,
        reduce: Reduce = "tokens",
        length: float | None = None,
        where: str | None = None,
    ):
        check_reduce("Distill", reduce, length)
        check_choice("Distill", "divergence", divergence, ("forward", "reverse", "jsd"))
        check_choice("Distill", "side", side, ("teacher", "student"))
        if not 0 < weight < 1:
            raise UserError(f"Distill: weight is {weight}, expected strictly between 0 and 1 (use forward or reverse for the limits)")
        if k is not None and k < 1:
            raise UserError(f"Distill: k is {k}, expected at least 1")
        self.divergence, self.weight, self.k = divergence, weight, k
        self.coef, self.reduce, self.length, self.where = coef, reduce, length, where
        self._need = f"full:{to}:{context}" if k is None else f"topk:{context}:{to}:{k}:{side}"
        self.needs = frozenset({self._need})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        import torch

        parts = needed_parts(batch, self._need)
        if self.k is None:
            S, T = parts["student"], parts["teacher"]
        else:
            S = torch.cat([parts["student"], parts["student_tail"].unsqueeze(-1)], -1)
            T = torch.cat([parts["logp"], parts["tail"].unsqueeze(-1)], -1)
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
