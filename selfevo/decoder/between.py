"""What lies between the products of a decode step, in PyTorch's operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from .functions import turned
from .weights import Weights


class Between:
    """For a model's steps at positions 0..length-1."""

    def __init__(self, w: Weights, length: int):
        weight = w.embedding.weight
        self.heads, self.kv, self.width, self.eps = w.heads, w.kv, w.width, w.eps
        self.exact = weight.dtype in (torch.float32, torch.float64)
        self.cos, self.sin = w.rope(torch.arange(length, device=weight.device))
        self.floor = {d: torch.tensor((d * w.eps) ** 0.5, dtype=weight.dtype) for d in (w.width, w.last_norm.shape[0])}

    def ready(self, weight: Tensor) -> Tensor:
        """A norm's weight as `norm` and `turn` want it."""
        return weight * weight.shape[-1] ** 0.5 if self.exact else weight

    def norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMSNorm (Zhang & Sennrich 2019) over the last dimension, with a weight of `ready`; None: that of ones, which is in a matrix."""
        if not self.exact:  # as transformers rounds: normalised in float32, weighted in the model's own precision
            y = rms_norm(x.float(), x.shape[-1:], None, self.eps).to(x.dtype)
            return y if weight is None else y * weight
        # x / sqrt(sum x^2 / d + eps) = sqrt(d) x / sqrt(sum x^2 + d eps), and the weight holds sqrt(d).
        y = x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self.floor[x.shape[-1]])
        return y if weight is None else y.mul_(weight)

    def at(self, positions: Tensor) -> Any:
        """What `turn` turns by at positions [n]."""
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)

    def turn(self, states: Tensor, qk_norm: Tensor | None, by: Any) -> tuple[Tensor, Tensor, Tensor]:
        """Of states [n, (heads + 2 kv heads) * width]: queries [n, kv heads, heads / kv heads, width] and keys [n, kv heads, width], normed
        where the model does so and turned (Su et al. 2021), and values [n, kv heads, width]."""
        x, v = states.view(len(states), -1, self.width).split_with_sizes([self.heads + self.kv, self.kv], 1)
        if qk_norm is not None:
            x = self.norm(x, qk_norm)
        q, k = turned(x, *by).split_with_sizes([self.heads, self.kv], 1)
        return q.view(len(x), self.kv, -1, self.width), k, v

    def gate(self, both: Tensor) -> Tensor:
        """SwiGLU (Shazeer 2020) of [n, 2 I], gate before up: [n, I]."""
        gate, up = both.split_with_sizes([both.shape[1] // 2] * 2, 1)
        return silu(gate).mul_(up)
