"""The matrix products of generation alone: each prompt once, then every decode step with the rows that are still running."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.nn.functional import scaled_dot_product_attention

from benchmarks import products
from benchmarks.products import Attention, Linear, Shape, Work, fastest, work


@dataclass(frozen=True)
class Step:
    """One decode step: `lengths` are the keys that each active row reads, the new one included."""

    lengths: tuple[int, ...]

    @property
    def rows(self) -> int:
        """Active rows."""
        return len(self.lengths)

    @property
    def width(self) -> int:
        """Keys of the longest row."""
        return max(self.lengths)


def steps(prompts: Sequence[int], replies: Sequence[int]) -> list[Step]:
    """Steps of a batch whose rows all start at once; the first token of a reply comes from the prompt's pass."""
    pairs = list(zip(prompts, replies, strict=True))
    return [Step(tuple(p + t for p, r in pairs if r > t)) for t in range(1, max(replies))]


def prefill(distinct: Sequence[int]) -> Work:
    """The pass over distinct prompts, one output position each."""
    return work((p, 1) for p in distinct)  # the whole prompt: p + 1 - 1 tokens


def flops(shape: Shape, distinct: Sequence[int], decode: Sequence[Step]) -> int:
    """Floating-point operations of prompts and steps over the actual lengths (causal blocks as rectangles)."""
    rows, keys = sum(s.rows for s in decode), sum(sum(s.lengths) for s in decode)
    attention = 4 * shape.layers * shape.heads * shape.head_dim * keys
    return products.flops(shape, prefill(distinct)) + products.flops(shape, Work(rows, rows, {})) + attention


class Decode:
    """The products of a generation; every layer has weights, keys and values of its own, as it must."""

    def __init__(self, shape: Shape, distinct: Sequence[int], decode: Sequence[Step]):
        self.shape, self.decode, self.first = shape, decode, prefill(distinct)
        rows, width = decode[0].rows, max(s.width for s in decode)
        self.linear = Linear(shape, max(rows, self.first.tokens))
        self.prompts = Attention(shape, self.first.blocks)
        self.cache = [torch.randn(2, rows, shape.kv_heads, width, shape.head_dim) for _ in range(shape.layers)]
        self.q = torch.randn(rows * shape.heads * shape.head_dim)
        self.o = torch.empty_like(self.q)
        self.scores = torch.empty(rows * shape.heads * width)
        some = decode[:: max(1, len(decode) // 16)]  # steps of every size
        self.way = fastest({name: lambda name=name: self._attend(name, some) for name in ("bmm", "fused")})

    def _attend(self, way: str, some: Sequence[Step]) -> None:
        attend = getattr(self, way)
        for step in some:
            for layer in range(self.shape.layers):
                attend(layer, step)

    def bmm(self, layer: int, step: Step) -> None:
        """Scores and weighted sums over the cache, padded to the longest active row; heads that share keys are further queries."""
        s, n, width = self.shape, step.rows * self.shape.kv_heads, step.width
        shared = s.heads // s.kv_heads
        k, v = (x[: step.rows].flatten(0, 1)[:, :width] for x in self.cache[layer])
        scores = self.scores[: n * shared * width].view(n, shared, width)
        size = n * shared * s.head_dim
        torch.bmm(self.q[:size].view(n, shared, s.head_dim), k.mT, out=scores)
        torch.bmm(scores, v, out=self.o[:size].view(n, shared, s.head_dim))

    def fused(self, layer: int, step: Step) -> None:
        """PyTorch's own kernel on the same."""
        s, n = self.shape, step.rows
        k, v = (x[:n, :, : step.width] for x in self.cache[layer])
        q = self.q[: n * s.heads * s.head_dim].view(n, s.kv_heads, s.heads // s.kv_heads, s.head_dim)
        scaled_dot_product_attention(q, k, v)

    def run(self) -> None:
        """All products once."""
        self.linear.run(self.first.tokens, self.first.outputs, self.first.tokens)
        for _ in range(self.shape.layers):
            self.prompts.bmm()
        attend = getattr(self, self.way)
        for step in self.decode:
            self.linear.run(step.rows, step.rows, step.rows)
            for layer in range(self.shape.layers):
                attend(layer, step)
