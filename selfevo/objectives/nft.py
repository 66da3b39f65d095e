"""Maximum likelihood on right and on wrong answers: the wrong ones through a negative policy that is implied by the policy itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_choice, check_number, check_reduce, log_ratio

if TYPE_CHECKING:
    from torch import Tensor


class NFT(BaseTerm):
    """Negative-aware fine-tuning (Chen et al. 2025, "Bridging Supervised Learning and Reinforcement Learning in Math Reasoning",
    arXiv:2505.18116). With q the success rate of a prompt, R = pi_theta / pi_old and y = 1 for a right answer, 0 for a wrong one,

        l = w [ -y log R - neg_weight (1 - y) log P ],   P = (1 - q R) / (1 - q), in value at least `clamp`,

    since pi_old = q pi_theta + (1 - q) pi_minus. P keeps its gradient where it is clamped (straight through), so that of the wrong
    branch is w q R / max(1 - q R, clamp (1 - q)) times that of log pi. At R = 1 the implied advantage is w or -w q / (1 - q):
    y - q with `normalize` 1 (Dr. GRPO), (y - q) / population std with 2 (GRPO). `neg_weight` 0 is rejection fine-tuning (RFT).

    Args:
        correct, rate: columns with y and q, a number per row (`advantages.Raw`, `advantages.GroupRate`, which keeps q off 0 and 1).
        old: as in `ClippedRatio`.
        neg_weight: weight of the wrong branch, at least 0.
        clamp: smallest value of P. Below 1 the gradient grows without bound as q R nears 1 from below `clamp`.
        normalize: w is 1 (0), 1 - q (1) or sqrt((1 - q) / q) (2).
        ratio: "token", or "sequence": R is the product over the row's tokens and the loss one number per row.
        limit: log R is cut above this.
        reduce, length, coef, where: see `term.BaseTerm`. The released code sums over tokens and rows and divides by 1000.
    """

    def __init__(
        self,
        correct: str = "correct",
        rate: str = "rate",
        old: str = "sampler",
        neg_weight: Number = 1.0,
        clamp: float = 1.0,
        normalize: Literal[0, 1, 2] = 1,
        ratio: Literal["token", "sequence"] = "token",
        limit: float = 10.0,
        reduce: Reduce = "constant",
        length: float | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        length = 1000.0 if reduce == "constant" and length is None else length
        check_reduce("NFT", reduce, length)
        check_number("NFT", "neg_weight", neg_weight)
        check_choice("NFT", "ratio", ratio, ("token", "sequence"))
        if normalize not in (0, 1, 2):
            raise UserError(f"NFT: normalize is {normalize}, expected 0, 1 or 2")
        if not clamp > 0:
            raise UserError(f"NFT: clamp is {clamp}, expected a number above 0 (the log of what is clamped is taken)")
        self.correct, self.rate, self.old, self.neg_weight, self.clamp = correct, rate, old, neg_weight, clamp
        self.normalize, self.ratio, self.limit = normalize, ratio, limit
        self.reduce, self.length, self.coef, self.where = reduce, length, coef, where
        self.level = "token" if ratio == "token" else "row"
        self.needs = frozenset({f"logp:{old}"})

    def _parts(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """y, q, log R and the unclamped P, each [B, T] or [B, 1] ("sequence": [B] all)."""
        y, q, log_r = batch.row(self.correct), batch.row(self.rate), log_ratio(batch, self.old)
        if self.ratio == "sequence":
            log_r = (log_r * batch.mask).sum(1)
        else:
            y, q = y.unsqueeze(1), q.unsqueeze(1)
        log_r = log_r.clamp(max=self.limit)
        return y, q, log_r, (1 - q * log_r.exp()) / (1 - q)

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T], or [B] with ratio "sequence"."""
        y, q, log_r, p = self._parts(batch)
        p = p + (p.clamp(min=self.clamp) - p).detach()
        loss = -y * log_r - batch.value(self.neg_weight) * (1 - y) * p.log()
        if self.normalize == 0:
            return loss
        return loss * ((1 - q) if self.normalize == 1 else ((1 - q) / q).sqrt())

    def silent(self, batch: Batch) -> Tensor | None:
        """Wrong rows when they have no weight."""
        return batch.row(self.correct) == 0 if batch.value(self.neg_weight) == 0 else None

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ratio`; `clamped`: 1 on wrong rows whose P was below `clamp`."""
        y, _, log_r, p = self._parts(batch)
        clamped = ((p < self.clamp) & (y < 1)).float()
        return {"ratio": log_r.exp(), "clamped": clamped}
