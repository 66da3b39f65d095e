"""Divergence from another policy as a term of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_choice, check_number, check_reduce, log_ratio, needed_parts

if TYPE_CHECKING:
    from torch import Tensor


class KL(BaseTerm):
    """KL(pi_theta || pi_to) per token, on the sampled tokens (Schulman 2020, "Approximating KL divergence") or exactly.

    With d = log pi_theta - log pi_to: k1 = d; k2 = d^2 / 2; k3 = exp(-d) - 1 + d (GRPO, Shao et al. 2024, eq. 4).
    full = sum_v pi_theta(v) (log pi_theta(v) - log pi_to(v)) over the vocabulary.
    On tokens from pi_theta all four have the same mean, but as a loss their gradients differ: k1's has mean zero (it belongs into
    the reward, not here), k2's has the mean of the true gradient, k3's is that of the forward KL(pi_to || pi_theta), full is exact.

    Args:
        to: policy reference, "solver@base"; "old" is the policy at the start of the update.
        estimator: "k1", "k2", "k3" or "full" (keeps logits [B, T, V] of both policies in memory).
        coef: the weight, beta in most papers. 0 equals leaving the term out: the other policy is not even loaded.
        reduce, length, where: see `term.BaseTerm`. Give the policy-gradient term's reduction to match a paper that sums inside it.
        correct: log-probs the tokens were sampled under ("sampler", "old"): multiplies the estimate by pi_theta / pi_correct,
            with gradient, which makes k3 unbiased off policy (DeepSeek-V3.2, 2025, eq. 7). None: off.
        bound: k3's exponent -d is cut to [-bound, bound], so that a token whose probability fell to nothing cannot blow up the loss
            (nor pull it back). None: no cut.
    """

    def __init__(
        self,
        to: str,
        estimator: Literal["k1", "k2", "k3", "full"] = "k3",
        coef: Number = 0.001,
        reduce: Reduce = "tokens",
        length: float | None = None,
        correct: str | None = None,
        where: str | None = None,
        bound: float | None = None,
    ):
        check_reduce("KL", reduce, length)
        check_choice("KL", "estimator", estimator, ("k1", "k2", "k3", "full"))
        check_number("KL", "coef", coef)
        check_number("KL", "bound", bound)
        self.to, self.estimator, self.coef, self.correct = to, estimator, coef, correct
        self.reduce, self.length, self.where, self.bound = reduce, length, where, bound
        kind = "full" if estimator == "full" else "logp"
        self.needs = frozenset({f"{kind}:{to}"} | ({f"logp:{correct}"} if correct is not None else set()))

    def divergence(self, batch: Batch) -> Tensor:
        """[B, T] the estimate."""
        if self.estimator == "full":
            both = needed_parts(batch, f"full:{self.to}")
            return (both["student"].exp() * (both["student"] - both["teacher"])).sum(-1)
        d = log_ratio(batch, self.to)
        if self.estimator == "k1":
            return d
        if self.estimator == "k2":
            return d.square() / 2
        exponent = -d if self.bound is None else (-d).clamp(-self.bound, self.bound)
        return exponent.exp() - 1 + d

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        kl = self.divergence(batch)
        return kl if self.correct is None else kl * log_ratio(batch, self.correct).exp()

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`kl`: the estimate itself, uncorrected."""
        return {"kl": self.divergence(batch)}
