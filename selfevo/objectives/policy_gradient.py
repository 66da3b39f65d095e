"""The plain score-function gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ..errors import UserError
from ..protocols import Batch, Number
from .clipped_ratio import sampler_weight
from .term import BaseTerm, Reduce, check_number, check_reduce, zero_column

if TYPE_CHECKING:
    from torch import Tensor


class PolicyGradient(BaseTerm):
    """REINFORCE: l = -A log pi_theta(token) (Williams 1992). RLOO is this with leave-one-out advantages (Ahmadian et al. 2024, eq. 5).

    The papers sum the log-probs of a sequence and average over sequences: `reduce: constant, length: 1`.

    Args:
        advantage: column with A.
        reduce, length, coef, where: see `term.BaseTerm`.
        truncate: cap of the weight min(pi_old / pi_sampler, cap) for a sampler that is not the learner's twin. None: no weight.
        old: whose log-probs stand over the sampler's in that weight ("old": the policy at the start of the update; "live").
    """

    def __init__(
        self,
        advantage: str,
        reduce: Reduce = "constant",
        length: float | None = None,
        truncate: Number | None = None,
        old: str = "old",
        coef: Number = 1.0,
        where: str | None = None,
    ):
        if reduce == "constant" and length is None:
            length = 1.0
        check_reduce("PolicyGradient", reduce, length)
        check_number("PolicyGradient", "truncate", truncate)
        if truncate is not None and old == "sampler":
            raise UserError("PolicyGradient: truncate corrects from the sampler to `old`, so old must not be 'sampler'")
        self.advantage, self.truncate, self.old = advantage, truncate, old
        self.reduce, self.length, self.coef, self.where = reduce, length, coef, where
        self.needs = frozenset() if truncate is None else frozenset({f"logp:{old}", "logp:sampler"})

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """[B, T]."""
        A = batch.column(self.advantage)
        if self.truncate is not None:
            A = A * sampler_weight(batch, self.old, batch.value(self.truncate))
        return -A * batch.logp

    def silent(self, batch: Batch) -> Tensor:
        """Rows whose advantage is zero everywhere."""
        return zero_column(batch, self.advantage)
