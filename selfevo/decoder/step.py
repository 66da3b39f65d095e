"""A decode step: one token for every running reply, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import rms_norm, silu

from .products import added, divided, project
from .turning import Halves, Pairs
from .weights import Layer, Weights

Room = Callable[[Sequence[int], torch.dtype, Callable[[Tensor], object]], Tensor]
"""Gives a tensor of a shape and type, filled by a function that writes to it."""


def anywhere(shape: Sequence[int], dtype: torch.dtype, fill: Callable[[Tensor], object]) -> Tensor:
    """A tensor of its own."""
    tensor = torch.empty(tuple(shape), dtype=dtype)
    fill(tensor)
    return tensor


class Step:
    """The weights as they are now (for one call of `generate`), and the step.

    `attend(layer, q, k, v, window)` stores keys and values [n, kv heads, width] of the new tokens and gives what the queries
    [n, kv heads, heads / kv heads, width] see, [n, heads * width]. Earlier keys are to be as `turning.keys` makes them.
    """

    def __init__(self, model: Any, length: int, room: Room = anywhere, few: bool = False):
        """`length`: positions 0..length-1 will be decoded. `room`: where copies of a small model's matrices on a CPU lie. `few`: no step
        has more than `products.FEW` tokens."""
        self.room = room
        self.weights = w = Weights(model)
        self.exact = w.embedding.weight.dtype in (torch.float32, torch.float64)
        cpu = w.embedding.weight.device.type == "cpu"
        self.copies, self.parts = w.join and cpu, torch.get_num_threads() if few and cpu and self.exact else 1
        self.inside = w.join and self.exact  # the matrices that read a norm are copies: they can hold its weights
        self.turning = Pairs(w, length) if self.inside else Halves(w, length)
        self.layers = [self._ready(x) for x in w.layers]
        self.head = self._lying(w.head)
        self.last_norm = self._norm(w.last_norm)
        self.floor = {d: torch.tensor((d * w.eps) ** 0.5, dtype=w.embedding.weight.dtype) for d in (w.width, w.last_norm.shape[0])}

    def __call__(self, ids: Tensor, positions: Tensor, attend: Any) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] per reply, at `positions` [n]."""
        w = self.weights
        n, d, kv, heads = len(ids), w.width, w.kv, w.heads
        by = self.turning.at(positions)
        h = w.embedding(ids)
        for index, layer in enumerate(self.layers):
            states = project(self.norm(h, layer.before), layer.qkv, layer.qkv_bias).view(n, heads + 2 * kv, d)
            x, v = states.split_with_sizes([heads + kv, kv], 1)
            if layer.qk_norm is not None:
                x = self.norm(x, layer.qk_norm)
            q, k = self.turning(x, by)
            h = added(h, attend(index, q, k, v, layer.window), layer.out, layer.out_bias)
            both = project(self.norm(h, layer.after), layer.gate_up, layer.gate_up_bias)
            gate, up = both.split_with_sizes([both.shape[1] // 2] * 2, 1)
            h = added(h, silu(gate).mul_(up), layer.down, layer.down_bias)
        return project(self.norm(h, self.last_norm), [self.head], w.head_bias)

    def norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """RMSNorm (Zhang & Sennrich 2019) over the last dimension, with a weight from `_norm`; None: a weight of `_norm(1)`."""
        if not self.exact:  # as transformers rounds: normalised in float32, weighted in the model's own precision
            y = rms_norm(x.float(), x.shape[-1:], None, self.weights.eps).to(x.dtype)
            return y if weight is None else y * weight
        # x / sqrt(sum x^2 / d + eps) = sqrt(d) x / sqrt(sum x^2 + d eps), and the weight holds sqrt(d).
        y = x / torch.hypot(torch.linalg.vector_norm(x, dim=-1, keepdim=True), self.floor[x.shape[-1]])
        return y if weight is None else y.mul_(weight)

    def _norm(self, weight: Tensor) -> Tensor:
        return weight * weight.shape[-1] ** 0.5 if self.exact else weight

    def _ready(self, layer: Layer) -> Layer:
        """Norms as `norm` wants them; where a matrix is a copy anyway, the norm before it is put into it."""
        assert layer.before is not None and layer.after is not None
        before, after = self._norm(layer.before), self._norm(layer.after)
        qkv, gate_up, bias, qk_norm, ordered = layer.qkv, layer.gate_up, layer.qkv_bias, layer.qk_norm, self.turning.ordered
        if self.inside:
            qkv = [self._scaled(qkv[0], before, lambda m: ordered(m.t()).t())]
            gate_up = [self._scaled(gate_up[0], after)]
        else:
            qkv, gate_up = ([divided(x, self.parts) for x in some] for some in (qkv, gate_up))
        return replace(
            layer,
            before=None if self.inside else before,
            qkv=qkv,
            qkv_bias=None if bias is None else ordered(bias),
            qk_norm=None if qk_norm is None else ordered(self._norm(qk_norm).flatten()).view_as(qk_norm),
            after=None if self.inside else after,
            gate_up=gate_up,
            out=self._lying(layer.out),
            down=self._lying(layer.down),
        )

    def _scaled(self, matrix: Tensor, norm: Tensor, arranged: Callable[[Tensor], Tensor] = lambda m: m) -> Tensor:
        """diag(norm) @ matrix, arranged, and lying as `_lying` has it."""
        if divided(matrix, self.parts) is not matrix or not self.copies:
            return divided(arranged(matrix) * norm.unsqueeze(1), self.parts)
        return self.room(matrix.shape, matrix.dtype, lambda out: torch.mul(arranged(matrix), norm.unsqueeze(1), out=out))

    def _lying(self, matrix: Tensor) -> Tensor:
        """A matrix [inputs, outputs] divided among threads; or, if it may be copied, with its rows along memory: times few tokens it takes
        up to a third less time."""
        parts = divided(matrix, self.parts)
        if parts is not matrix or not self.copies:
            return parts
        return self.room(matrix.shape, matrix.dtype, lambda out: out.copy_(matrix))
