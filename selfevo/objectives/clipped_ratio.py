"""The clipped surrogate of PPO, GRPO, DAPO, Dr. GRPO and GSPO: one term, since they differ in its settings only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import Batch, Number
from .term import BaseTerm, Reduce, check_choice, check_number, check_reduce, log_ratio, needed, row_mean, zero_column

if TYPE_CHECKING:
    from torch import Tensor


class ClippedRatio(BaseTerm):
    """Clipped policy-gradient surrogate: l = -min(r A, clip(r, 1 - low, 1 + high) A), with r = pi_theta / pi_old.

    PPO (Schulman et al. 2017, eq. 7); GRPO (Shao et al. 2024, eq. 3: reduce rows, its KL is the separate term `KL`); DAPO (Yu et
    al. 2025, eq. 8: high > low, reduce tokens); Dr. GRPO (Liu et al. 2025: reduce constant, advantages without a std);
    GSPO (Zheng et al. 2025, eq. 5-7: ratio sequence, reduce rows).

    Args:
        advantage: column with A (a number per row or per token).
        old: log-probs in the ratio: "sampler" (as the engine reported them), "old" (recomputed at the start of the update),
            "live" (the present weights, no gradient: ratio 1 in value), or a policy reference such as "solver@round".
        low, high: clip range below and above 1; `high` may name a column, which gives each row (or token) its own.
        reduce, length: see `term.Reduce`.
        ratio: "token": r_t per token. "sequence": exp of the masked mean log ratio, the same for all tokens of a row (GSPO eq. 7).
            "sequence_token": that value, with the gradient of each token's own log-prob (GSPO-token, eq. 13-14).
            "product": exp of the summed log ratio, the exact sequence importance weight.
        dual_clip: bound c > 1 of Ye et al. 2020, eq. 5: where A < 0 the loss is at most -c A. None: off.
        truncate: cap C on the weight min(exp(log pi_old - log pi_sampler), C) that corrects the sampler's mismatch (truncated
            importance sampling, Yao et al. 2025). Needs `old` other than "sampler". None: no correction.
        coef, where: see `term.BaseTerm`.
    """

    def __init__(
        self,
        advantage: str,
        old: str = "sampler",
        low: Number = 0.2,
        high: Number | str = 0.2,
        reduce: Reduce = "tokens",
        length: float | None = None,
        ratio: Literal["token", "sequence", "sequence_token", "product"] = "token",
        dual_clip: float | None = None,
        truncate: Number | None = None,
        coef: Number = 1.0,
        where: str | None = None,
    ):
        check_reduce("ClippedRatio", reduce, length)
        check_choice("ClippedRatio", "ratio", ratio, ("token", "sequence", "sequence_token", "product"))
        check_number("ClippedRatio", "low", low)
        if not isinstance(high, str):
            check_number("ClippedRatio", "high", high)
        check_number("ClippedRatio", "truncate", truncate)
        if dual_clip is not None and dual_clip <= 1:
            raise UserError(f"ClippedRatio: dual_clip is {dual_clip}, expected more than 1 (it bounds the ratio from above)")
        if truncate is not None and old == "sampler":
            raise UserError("ClippedRatio: truncate corrects from the sampler to `old`, so old must not be 'sampler' (give old: old)")
        self.advantage, self.old, self.low, self.high, self.ratio = advantage, old, low, high, ratio
        self.reduce, self.length, self.dual_clip, self.truncate, self.coef, self.where = reduce, length, dual_clip, truncate, coef, where
        self.needs = frozenset({f"logp:{old}"} | ({"logp:sampler"} if truncate is not None else set()))

    def log_weight(self, batch: Batch) -> Tensor:
        """[B, T] log r of the chosen kind."""
        per_token = log_ratio(batch, self.old)
        if self.ratio == "token":
            return per_token
        if self.ratio == "product":
            return (per_token * batch.mask).sum(1, keepdim=True).expand_as(per_token)
        mean = row_mean(per_token, batch.mask).unsqueeze(1)
        if self.ratio == "sequence":
            return mean.expand_as(per_token)
        return mean.detach() + per_token - per_token.detach()

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        import torch

        A, r = batch.column(self.advantage), self.log_weight(batch).exp()
        low, high = 1 - batch.value(self.low), 1 + self._high(batch)
        held = r.clamp(low, high) if isinstance(high, float) else torch.minimum(r.clamp(min=low), high)
        gain = torch.minimum(r * A, held * A)
        if self.dual_clip is not None:
            gain = torch.where(A < 0, torch.maximum(gain, self.dual_clip * A), gain)
        if self.truncate is not None:
            gain = gain * sampler_weight(batch, self.old, batch.value(self.truncate))
        return -gain

    def _high(self, batch: Batch) -> float | Tensor:
        return batch.column(self.high) if isinstance(self.high, str) else batch.value(self.high)

    def silent(self, batch: Batch) -> Tensor:
        """Rows whose advantage is zero everywhere."""
        return zero_column(batch, self.advantage)

    def watch(self, batch: Batch) -> Mapping[str, Tensor]:
        """`ratio`; `clipped_low` / `clipped_high`: 1 where the clip removed the gradient; `kl`: k3 estimate of KL(pi_theta, pi_old)."""
        A, log_r, per_token = batch.column(self.advantage), self.log_weight(batch), log_ratio(batch, self.old)
        r = log_r.exp()
        low = (r < 1 - batch.value(self.low)) & (A < 0)
        high = (r > 1 + self._high(batch)) & (A > 0)
        return {"ratio": r, "clipped_low": low.float(), "clipped_high": high.float(), "kl": (-per_token).exp() - 1 + per_token}


def sampler_weight(batch: Batch, old: str, cap: float) -> Tensor:
    """[B, T] min(pi_old / pi_sampler, cap) per token, without gradient (Yao et al. 2025); 1 where masked."""
    import torch

    log_gap = needed(batch, f"logp:{old}") - needed(batch, "logp:sampler")
    return torch.where(batch.mask != 0, log_gap, 0.0).detach().exp().clamp(max=cap)
