"""A decode step: one token for every running reply, without gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from .weights import Weights


class Step:
    """The weights as they are now (for one call of `generate`), and the step.

    `attend(layer, q, k, v, window)` stores keys and values [n, kv heads, width] of the new tokens and gives what the queries
    [n, heads, width] see, [n, heads * width].
    """

    def __init__(self, model: Any, length: int):
        """`length`: positions 0..length-1 will be decoded."""
        self.weights = w = Weights(model)
        self.exact = w.embedding.weight.dtype in (torch.float32, torch.float64)
        self.norms = [(self._norm(x.before), None if x.qk_norm is None else self._norm(x.qk_norm), self._norm(x.after)) for x in w.layers]
        self.last_norm = self._norm(w.last_norm)
        self.cos, self.sin = w.rope(torch.arange(length, device=w.embedding.weight.device))

    def __call__(self, ids: Tensor, positions: Tensor, attend: Any) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] per reply, at `positions` [n]."""
        w = self.weights
        n, d, qk = len(ids), w.width, w.heads + w.kv
        cos, sin = self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)
        h = w.embedding(ids)
        for index, (layer, (before, qk_norm, after)) in enumerate(zip(w.layers, self.norms, strict=True)):
            states = project(self.norm(h, before), layer.qkv, layer.qkv_bias).view(n, qk + w.kv, d)
            x = states[:, :qk]
            if qk_norm is not None:
                x = self.norm(x, qk_norm)
            x = torch.addcmul(x * cos, x.reshape(n, qk, 2, d // 2).flip(2).view(n, qk, d), sin)
            seen = attend(index, x[:, : w.heads], x[:, w.heads :], states[:, qk:], layer.window)
            h = added(h, seen, layer.out, layer.out_bias)
            gate, up = project(self.norm(h, after), layer.gate_up, layer.gate_up_bias).chunk(2, 1)
            h = added(h, nn.functional.silu(gate).mul_(up), layer.down, layer.down_bias)
        return project(self.norm(h, self.last_norm), [w.head], w.head_bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm (Zhang & Sennrich 2019) over the last dimension, with a weight from `_norm`."""
        if not self.exact:  # as transformers rounds: normalised in float32, weighted in the model's own precision
            return weight * rms_norm(x.float(), x.shape[-1:], None, self.weights.eps).to(x.dtype)
        inverse = torch.linalg.vecdot(x, x).add_(x.shape[-1] * self.weights.eps).rsqrt_()
        return (x * inverse.unsqueeze(-1)).mul_(weight)

    def _norm(self, weight: Tensor) -> Tensor:
        """x / sqrt(sum x^2 / w + eps) = sqrt(w) x / sqrt(sum x^2 + w eps), with sqrt(w) put into the weight."""
        return weight * weight.shape[-1] ** 0.5 if self.exact else weight


def project(x: Tensor, weights: list[Tensor], bias: Tensor | None) -> Tensor:
    """x [weights...]' + bias."""
    if len(weights) == 1 and bias is not None:
        return torch.addmm(bias, x, weights[0].t())
    y = torch.mm(x, weights[0].t()) if len(weights) == 1 else torch.cat([torch.mm(x, w.t()) for w in weights], 1)
    return y if bias is None else y.add_(bias)


def added(h: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """h + x weight' + bias: the residual stream is added by the product itself."""
    y = torch.addmm(h, x, weight.t())
    return y if bias is None else y.add_(bias)
