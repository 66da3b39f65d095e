"""transformers' RMSNorm rounds to float32 even in a float64 model, which hides everything below 1e-7: this one does not."""

from __future__ import annotations

import torch
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm


def forward(self: Qwen3RMSNorm, x: torch.Tensor) -> torch.Tensor:
    """The same in the model's own precision where that is float64."""
    wide = x if x.dtype == torch.float64 else x.float()
    return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)).to(x.dtype)


def exact_norms(patch) -> None:
    """Use it in Qwen3, the family of the numerics tests, as long as `patch` (pytest's MonkeyPatch) lasts."""
    patch.setattr(Qwen3RMSNorm, "forward", forward)
