"""A stream of tokens through a Llama-shaped model, with gradients. What each token attends to is the caller's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .functions import Gated, Norm, Rotate
from .products import project
from .weights import Layer, Weights

Attend = Callable[[Tensor, Tensor, Tensor, "int | None"], Tensor]
"""(queries [n, heads, width], keys and values [n, kv heads, width], window) to what each token sees, [n, heads * width]."""


class Stream:
    """A model's weights for one pass: `hidden`, then `logits` at the positions that matter."""

    def __init__(self, model: Any, weights: Weights | None = None):
        """`weights`: the model's, where they are at hand."""
        self.weights = weights or Weights(model)
        self.checkpointing = bool(model.is_gradient_checkpointing and model.training and torch.is_grad_enabled())

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend) -> Tensor:
        """The output layer's input [n, hidden] for ids [n] at positions [n]."""
        w = self.weights
        cos, sin = (x.unsqueeze(1) for x in w.rope(positions))
        h = w.embedding(ids)
        for layer in w.layers:
            args = (h, layer, cos, sin, attend)
            h = checkpoint(self._layer, *args, use_reentrant=False) if self.checkpointing else self._layer(*args)
        return Norm.apply(h, w.last_norm, w.eps)

    def logits(self, hidden: Tensor) -> Tensor:
        """[m, V] from hidden states [m, hidden]."""
        return project(hidden, [self.weights.head], self.weights.head_bias)

    def _layer(self, h: Tensor, layer: Layer, cos: Tensor, sin: Tensor, attend: Attend) -> Tensor:
        w = self.weights
        n, d, qk = len(h), w.width, w.heads + w.kv
        x, v = project(Norm.apply(h, layer.before, w.eps), layer.qkv, layer.qkv_bias).split([qk * d, w.kv * d], 1)
        x = x.view(n, qk, d)
        if layer.qk_norm is not None:
            x = Norm.apply(x, layer.qk_norm, w.eps)
        q, k = Rotate.apply(x, cos, sin).split([w.heads, w.kv], 1)
        h = h + project(attend(q, k, v.view(n, w.kv, d), layer.window), [layer.out], layer.out_bias)
        both = project(Norm.apply(h, layer.after, w.eps), layer.gate_up, layer.gate_up_bias)
        return h + project(Gated.apply(both), [layer.down], layer.down_bias)
