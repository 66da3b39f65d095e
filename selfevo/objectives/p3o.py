"""P3O: the effective sample size of the batch caps the importance weights and sets the pull back to the policy that sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..protocols import Batch, Number
from .kl import KL
from .term import BaseTerm, Reduce, check_choice, check_reduce, log_ratio, zero_column

if TYPE_CHECKING:
    from torch import Tensor

Per = Literal["batch", "row"]


def effective_sample_size(log_w: Tensor, mask: Tensor, per: Per = "batch") -> Tensor:
    """(sum w)^2 / (n sum w^2) in [1/n, 1] over the n tokens that count, w = exp(log_w) [B, T]: a scalar, or [B, 1] per row. Detached.

    Every w may be multiplied by one number: the largest is made 1, so that nothing overflows. 1 where nothing counts or is finite.
    """
    import torch

    on = mask != 0
    if per == "batch":
        log_w, on = log_w.reshape(1, -1), on.reshape(1, -1)
    log_w = torch.where(on, log_w.detach().double(), float("-inf"))
    w = (log_w - log_w.amax(1, keepdim=True)).exp()
    ess = w.sum(1, keepdim=True).square() / (on.sum(1, keepdim=True) * w.square().sum(1, keepdim=True))
    ess = torch.where(ess.isfinite(), ess, 1.0).to(mask.dtype)
    return ess if per == "row" else ess.squeeze()


class P3O(BaseTerm):
    """l = -sg(min(w, ESS)) A log pi_theta, w = pi_theta / pi_old per token (P3O, "Trust the Batch, On- or Off-Policy", 2026,
    arXiv:2605.12380, in the form of its released code). Goes with `Pullback`. On fresh data w = ESS = 1: REINFORCE.

    The ESS is that of the optimizer mini-batch over all ranks, so that no result depends on how rows fell into micro-batches. The
    released code takes it over each micro-batch: the same where `mini_batch` is that size.

    Args:
        advantage: column with A.
        old: as in `ClippedRatio`; behaviour log-probs ("sampler") may come from several versions.
        per: "batch" for one ESS, "row" for one per row.
        reduce, length, coef, where: see `term.BaseTerm`; tokens is the paper's.
    """

    def __init__(
        self,
        advantage: str,
        old: str = "sampler",
        per: Per = "batch",
        reduce: Reduce = "tokens",
        length: float | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_reduce("P3O", reduce, length)
        check_choice("P3O", "per", per, ("batch", "row"))
        self.advantage, self.old, self.per = advantage, old, per
        self.reduce, self.length, self.coef, self.where = reduce, length, coef, where
        self.needs = frozenset({f"logp:{old}"})

    def stats(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ess` of the mini-batch (with per: row the mean of the rows', which `loss` does not use)."""
        return {"ess": effective_sample_size(log_ratio(batch, self.old), batch.mask, self.per).mean()}

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        import torch

        rho = torch.minimum(log_ratio(batch, self.old).detach().exp(), cap(batch, stats, self.old, self.per))
        return -rho * batch.column(self.advantage) * batch.logp

    def silent(self, batch: Batch) -> Tensor:
        """Rows whose advantage is zero everywhere."""
        return zero_column(batch, self.advantage)

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ratio`; `outside`: 1 where it lies beyond PPO's range of 0.2, which bounds nothing here."""
        r = log_ratio(batch, self.old).exp()
        return {"ratio": r, "outside": ((r - 1).abs() > 0.2).float()}


class Pullback(KL):
    """(1 - ESS) k3(pi_theta, pi_old) on the sampled tokens, the second half of P3O's loss: nothing on fresh data, stronger on stale.

    Args:
        old, per, reduce, length, coef, where: as in `P3O`; give both terms the same.
        bound: see `KL`; the released code has 10.
    """

    def __init__(
        self,
        old: str = "sampler",
        per: Per = "batch",
        bound: float | None = 10.0,
        reduce: Reduce = "tokens",
        length: float | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_choice("Pullback", "per", per, ("batch", "row"))
        super().__init__(old, "k3", coef, reduce, length, where=where, bound=bound)
        self.old, self.per = old, per

    def stats(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ess`, as in `P3O`."""
        return {"ess": effective_sample_size(log_ratio(batch, self.old), batch.mask, self.per).mean()}

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        return (1 - cap(batch, stats, self.old, self.per)) * super().loss(batch, stats)


def cap(batch: Batch, stats: Mapping[str, Tensor], old: str, per: Per) -> Tensor:
    """The ESS that applies to each token, broadcastable to [B, T]."""
    return stats["ess"] if per == "batch" else effective_sample_size(log_ratio(batch, old), batch.mask, per)
