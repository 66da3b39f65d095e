"""A decode step: one token for every running reply, without gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from .between import Between
from .compiled import compiled
from .products import added, divided, project
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
    [n, kv heads, heads / kv heads, width] see, [n, heads * width]. q, k and v are what `between.turn` gives.
    """

    def __init__(self, model: Any, length: int, room: Room = anywhere, few: bool = False):
        """`length`: positions 0..length-1 will be decoded. `room`: where copies of a small model's matrices on a CPU lie. `few`: no step
        has more than `products.FEW` tokens."""
        self.room = room
        self.weights = w = Weights(model)
        cpu = w.embedding.weight.device.type == "cpu"
        self.compiled = compiled(w, length, few)
        self.between = self.compiled or Between(w, length)
        exact = self.between.exact
        self.copies, self.parts = w.join and cpu, torch.get_num_threads() if few and cpu and exact else 1
        self.inside = w.join and exact  # the matrices that read a norm are copies: they can hold its weights
        self.layers = [self._ready(x) for x in w.layers]
        self.head = self._lying(w.head)
        self.last_norm = self.between.ready(w.last_norm)

    def __call__(self, ids: Tensor, positions: Tensor, attend: Any) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] per reply, at `positions` [n]."""
        w, x = self.weights, self.between
        by = x.at(positions)
        h = w.embedding(ids)
        for index, layer in enumerate(self.layers):
            states = project(x.norm(h, layer.before), layer.qkv, layer.qkv_bias)
            q, k, v = x.turn(states, layer.qk_norm, by)
            h = added(h, attend(index, q, k, v, layer.window), layer.out, layer.out_bias)
            both = project(x.norm(h, layer.after), layer.gate_up, layer.gate_up_bias)
            h = added(h, x.gate(both), layer.down, layer.down_bias)
        return project(x.norm(h, self.last_norm), [self.head], w.head_bias)

    def _ready(self, layer: Layer) -> Layer:
        """Norms as `norm` wants them; where a matrix is a copy anyway, the norm before it is put into it."""
        assert layer.before is not None and layer.after is not None
        before, after = self.between.ready(layer.before), self.between.ready(layer.after)
        if self.inside:
            qkv, gate_up = [self._scaled(layer.qkv[0], before)], [self._scaled(layer.gate_up[0], after)]
        else:
            qkv, gate_up = ([divided(x, self.parts) for x in some] for some in (layer.qkv, layer.gate_up))
        return replace(
            layer,
            before=None if self.inside else before,
            qkv=qkv,
            qk_norm=None if layer.qk_norm is None else self.between.ready(layer.qk_norm),
            after=None if self.inside else after,
            gate_up=gate_up,
            out=self._lying(layer.out),
            down=self._lying(layer.down),
        )

    def _scaled(self, matrix: Tensor, norm: Tensor) -> Tensor:
        """diag(norm) @ matrix, lying as `_lying` has it."""
        if divided(matrix, self.parts) is not matrix or not self.copies:
            return divided(matrix * norm.unsqueeze(1), self.parts)
        return self.room(matrix.shape, matrix.dtype, lambda out: torch.mul(matrix, norm.unsqueeze(1), out=out))

    def _lying(self, matrix: Tensor) -> Tensor:
        """A matrix [inputs, outputs] divided among threads; or, if it may be copied, with its rows along memory: times few tokens it takes
        up to a third less time."""
        parts = divided(matrix, self.parts)
        if parts is not matrix or not self.copies:
            return parts
        return self.room(matrix.shape, matrix.dtype, lambda out: out.copy_(matrix))
