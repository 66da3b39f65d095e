"""Queries and keys of a decode step: in which order a layer's joined product gives them, and how they are turned by position."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .functions import turned
from .weights import Weights


class Halves:
    """As the weights give them: all queries before all keys, and what turns together half a head apart."""

    def __init__(self, w: Weights, length: int):
        """For positions 0..length-1."""
        self.heads, self.kv, self.width = w.heads, w.kv, w.width
        self.cos, self.sin = w.rope(torch.arange(length, device=w.embedding.weight.device))

    def ordered(self, x: Tensor) -> Tensor:
        """What belongs to the joined product's outputs [outputs, ...], or to the first of them, in this order."""
        return x

    def at(self, positions: Tensor) -> Any:
        """What positions [n] turn by."""
        return self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)

    def __call__(self, x: Tensor, by: Any) -> tuple[Tensor, Tensor]:
        """Queries [n, kv heads, heads / kv heads, width] and keys [n, kv heads, width], turned, of x [n, heads + kv heads, width]."""
        q, k = turned(x, *by).split_with_sizes([self.heads, self.kv], 1)
        return q.view(len(x), self.kv, -1, self.width), k

    def keys(self, k: Tensor) -> Tensor:
        """Turned keys [..., width] of `Stream` as `__call__` gives them."""
        return k


class Pairs(Halves):
    """In an order of its own, for matrices that are copied anyway: each key after the queries that see it, and what turns together side by
    side. Turning is then one product of complex numbers (Su et al. 2021, eq. 12), and queries that share keys lie together."""

    def __init__(self, w: Weights, length: int):
        super().__init__(w, length)
        self.half = self.width // 2
        self.turns = torch.complex(self.cos[:, : self.half], self.sin[:, self.half :])
        outputs = torch.arange((self.heads + 2 * self.kv) * self.width, device=self.cos.device).view(-1, self.width)
        q, k, v = outputs.split([self.heads, self.kv, self.kv])
        pairs = self.keys(torch.cat([q.view(self.kv, -1, self.width), k.unsqueeze(1)], 1))
        self.order = torch.cat([pairs.flatten(), v.flatten()])

    def ordered(self, x: Tensor) -> Tensor:
        """As of `Halves`."""
        return x[self.order[: len(x)]]

    def at(self, positions: Tensor) -> Any:
        """What positions [n] turn by."""
        return self.turns[positions].unsqueeze(1)

    def __call__(self, x: Tensor, by: Any) -> tuple[Tensor, Tensor]:
        """As of `Halves`."""
        y = torch.view_as_real(torch.view_as_complex(x.view(len(x), -1, self.half, 2)) * by).view(len(x), self.kv, -1, self.width)
        return y[:, :, :-1], y[:, :, -1]

    def keys(self, k: Tensor) -> Tensor:
        """As of `Halves`."""
        return k.unflatten(-1, (2, -1)).transpose(-1, -2).flatten(-2)
