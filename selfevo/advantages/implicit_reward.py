"""Rewards that a language model implies by how far it differs from another."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from .whiten import mask_of


class ImplicitReward:
    """r_t = beta (log pi_phi(token t) - log pi_ref(token t)) per token, 0 where masked: the reward that preference training of phi
    against ref has put into it (Rafailov et al. 2024, "From r to Q*", arXiv:2404.12358; as a process reward: OPRL, arXiv:2509.19199,
    where ref is the policy that sampled). Summed over a response it is beta times the log-ratio of the whole. [T] per sample, float64.

    Args:
        model: version of the reward model phi, "prm@current".
        reference: "sampler" for the log-probs the tokens were sampled with, or a version such as "solver@base".
        beta: that of the preference training.
    """

    def __init__(self, model: str, reference: str = "sampler", beta: Number = 0.05):
        if isinstance(beta, float | int) and beta <= 0:
            raise UserError(f"advantages.ImplicitReward: beta must be above 0, got {beta}")
        self.model, self.reference, self.beta = model, reference, beta
        self.needs = frozenset({f"logp:{ref}" for ref in (model, reference) if ref != "sampler"})

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per token. Raises UserError where a sample has no log-probs of its sampler."""
        beta = ctx.value(self.beta)
        return [
            tuple(beta * (a - b) if on else 0.0 for a, b, on in zip(*self._log_probs(s, ctx), mask_of(s), strict=True)) for s in samples
        ]

    def _log_probs(self, sample: Sample, ctx: RunCtx) -> tuple[Sequence[float], Sequence[float]]:
        found = [sample.columns.get(f"logp:{ref}") for ref in (self.model, self.reference)]
        for ref, column in zip((self.model, self.reference), found, strict=True):
            if not isinstance(column, tuple):
                raise UserError(f"advantage '{ctx.name}': sample {sample.id} has no log-probs of '{ref}'; name a version as reference")
        return found[0], found[1]  # type: ignore[return-value]
