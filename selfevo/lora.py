"""Low-rank adapters of a model. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .errors import UserError


class Lora:
    """Low-rank adapters: W + (alpha / rank) B A, with A [rank, in] and B [out, rank] trained and W frozen (Hu et al. 2021, eq. 3)."""

    def __init__(
        self,
        rank: int = 16,
        alpha: float = 32.0,
        targets: str | Sequence[str] = "all-linear",
        dropout: float = 0.0,
    ):
        """
        rank: of the adapters. alpha: scale of what they add, alpha / rank.
        targets: names of the layers that get one, or "all-linear" (all but the output layer).
        dropout: share of an adapter's inputs that are zeroed in training.
        """
        if rank < 1:
            raise UserError(f"lora.rank must be at least 1, got {rank}")
        if not 0.0 <= dropout < 1.0:
            raise UserError(f"lora.dropout must be in [0, 1), got {dropout}")
        self.rank, self.alpha, self.dropout = rank, alpha, dropout
        self.targets = targets if isinstance(targets, str) else list(targets)

    def wrap(self, model: Any, seed: int = 0) -> Any:
        """The model with fresh adapters (B = 0, so it computes what it did before); A is drawn from `seed`."""
        import torch
        from peft import LoraConfig, get_peft_model

        config = LoraConfig(
            task_type="CAUSAL_LM",
            r=self.rank,
            lora_alpha=self.alpha,  # type: ignore[arg-type]  # peft only divides it by the rank
            target_modules=self.targets,
            lora_dropout=self.dropout,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                return get_peft_model(model, config)
            except ValueError as error:
                raise UserError(f"lora.targets: {str(error).splitlines()[0]}") from error
