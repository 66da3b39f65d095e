"""The limit of a workload: the time of its matrix products alone, with nothing between them.

What is counted: the linear layers on the tokens that are needed (no padding), the two attention products on the lengths that are
needed, the output layer on the positions that are needed; in training also the products of the backward pass. Every product goes
to `torch.mm` / `torch.bmm` with inputs and outputs allocated before. Layers that read the same input (q, k, v; gate, up) are one
product, and where there are several ways (size of the pieces, bmm or fused attention) the fastest of them on this machine counts.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

PIECES = (512, 2048, 8192)
"""Tokens that go through one layer at a time: candidates."""


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder with grouped-query attention and a gated MLP."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape:
        """Of a configuration of transformers (Qwen3, Llama and their like)."""
        return cls(
            config.num_hidden_layers, config.hidden_size, config.num_attention_heads, config.num_key_value_heads,
            config.head_dim, config.intermediate_size, config.vocab_size,
        )  # fmt: skip

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """(inputs, outputs) of the linear layers of one layer: q with k and v, output of attention, gate with up, down."""
        inner, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return (self.hidden, inner + 2 * kv), (inner, self.hidden), (self.hidden, 2 * self.intermediate), (self.intermediate, self.hidden)


@dataclass(frozen=True)
class Block:
    """Attention of one sequence: `queries` positions that read `keys` positions; `causal`: the i-th reads the first i only."""

    queries: int
    keys: int
    causal: bool = False


@dataclass(frozen=True)
class Work:
    """What must be computed: `tokens` through the layers, `outputs` positions through the output layer, attention blocks by count."""

    tokens: int
    outputs: int
    blocks: Mapping[Block, int]


def work(sequences: Iterable[tuple[int, int]]) -> Work:
    """Of sequences (prompt, reply) that each carry their own prompt. The last reply token predicts nothing: it needs no pass."""
    pairs = list(sequences)
    blocks = Counter(Block(p + r - 1, p + r - 1, True) for p, r in pairs)
    return Work(sum(p + r - 1 for p, r in pairs), sum(r for _, r in pairs), blocks)


def shared_work(groups: Iterable[tuple[int, list[int]]]) -> Work:
    """The same of groups (prompt, replies): each prompt goes through once, and its replies read its keys together."""
    tokens = outputs = 0
    blocks: Counter[Block] = Counter()
    for prompt, replies in groups:
        # The last prompt position predicts the first token of every reply, so a reply itself needs its length minus one.
        inner = [r - 1 for r in replies if r > 1]
        tokens += prompt + sum(inner)
        outputs += sum(replies)
        blocks[Block(prompt, prompt, True)] += 1
        if inner:
            blocks[Block(sum(inner), prompt)] += 1
        blocks.update(Block(r, r, True) for r in inner)
    return Work(tokens, outputs, blocks)


def flops(shape: Shape, needed: Work, backward: bool = False) -> int:
    """Floating-point operations (a multiply-add is two) of the products; causal blocks count as whole rectangles, as `bmm` takes them.

    The backward pass takes two products for each of the forward pass.
    """
    linear = shape.layers * sum(i * o for i, o in shape.matrices) * needed.tokens
    attention = shape.layers * 2 * shape.heads * shape.head_dim * sum(b.queries * b.keys * n for b, n in needed.blocks.items())
    output = shape.hidden * shape.vocabulary * needed.outputs
    return 2 * (linear + attention + output) * (3 if backward else 1)


class Linear:
    """The products of the linear layers and of the output layer; weights are random, every layer has its own."""

    def __init__(self, shape: Shape, largest: int = max(PIECES), backward: bool = False, dtype: torch.dtype = torch.float32):
        sizes = {(i, o) for i, o in shape.matrices} | {(shape.hidden, shape.vocabulary)}
        self.x = {i: torch.randn(largest, i).to(dtype) for i, _ in sizes}
        self.y = {o: torch.randn(largest, o).to(dtype) for _, o in sizes}
        self.dx = {i: torch.empty(largest, i, dtype=dtype) for i, _ in sizes} if backward else {}
        self.layers = [[self._pair(i, o, backward, dtype) for i, o in shape.matrices] for _ in range(shape.layers)]
        self.head = self._pair(shape.hidden, shape.vocabulary, backward, dtype)
        self.backward = backward

    @staticmethod
    def _pair(i: int, o: int, backward: bool, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """A weight [o, i] and its gradient."""
        return (torch.randn(o, i) * i**-0.5).to(dtype), torch.zeros(o, i, dtype=dtype) if backward else None

    def run(self, tokens: int, outputs: int, piece: int) -> None:
        """All layers on `tokens`, the output layer on `outputs`, `piece` of them at a time."""
        for start in range(0, tokens, piece):
            self._pass([m for layer in self.layers for m in layer], min(piece, tokens - start))
        for start in range(0, outputs, piece):
            self._pass([self.head], min(piece, outputs - start))

    def _pass(self, matrices: list[tuple[Tensor, Tensor | None]], n: int) -> None:
        for weight, _ in matrices:
            o, i = weight.shape
            torch.mm(self.x[i][:n], weight.T, out=self.y[o][:n])
        if self.backward:
            for weight, grad in reversed(matrices):
                o, i = weight.shape
                dy = self.y[o][:n]
                torch.mm(dy, weight, out=self.dx[i][:n])
                torch.addmm(grad, dy.T, self.x[i][:n], out=grad)


class Attention:
    """The attention products of one layer's blocks, by `bmm` or by the fused kernel; heads that share keys are further queries."""

    def __init__(self, shape: Shape, blocks: Mapping[Block, int], backward: bool = False, dtype: torch.dtype = torch.float32):
        self.shape, self.backward, self.dtype = shape, backward, dtype
        self.blocks = dict(blocks)
        most = {"q": 1, "k": 1, "s": 1}
        for b, n in self.blocks.items():
            most["q"] = max(most["q"], n * b.queries * shape.heads * shape.head_dim)
            most["k"] = max(most["k"], n * b.keys * shape.heads * shape.head_dim)
            most["s"] = max(most["s"], n * b.queries * b.keys * shape.heads)
        kinds = {"q": "q", "o": "q", "k": "k", "v": "k", "s": "s"} | ({"dq": "q", "dk": "k", "dv": "k", "ds": "s"} if backward else {})
        self.flat = {name: torch.randn(most[kind]).to(dtype) for name, kind in kinds.items()}

    def _view(self, name: str, *sizes: int) -> Tensor:
        count = 1
        for size in sizes:
            count *= size
        return self.flat[name][:count].view(*sizes)

    def bmm(self) -> None:
        """Scores and weighted sums; backward: dv, ds, dq, dk."""
        s = self.shape
        for b, n in self.blocks.items():
            rows, queries = n * s.kv_heads, b.queries * (s.heads // s.kv_heads)
            q, o = self._view("q", rows, queries, s.head_dim), self._view("o", rows, queries, s.head_dim)
            k, v = self._view("k", rows, b.keys, s.head_dim), self._view("v", rows, b.keys, s.head_dim)
            scores = self._view("s", rows, queries, b.keys)
            torch.bmm(q, k.mT, out=scores)
            torch.bmm(scores, v, out=o)
            if self.backward:
                ds = self._view("ds", rows, queries, b.keys)
                torch.bmm(scores.mT, o, out=self._view("dv", rows, b.keys, s.head_dim))
                torch.bmm(o, v.mT, out=ds)
                torch.bmm(ds, k, out=self._view("dq", rows, queries, s.head_dim))
                torch.bmm(ds.mT, q, out=self._view("dk", rows, b.keys, s.head_dim))

    def fused(self) -> None:
        """PyTorch's own kernel, which leaves out what a causal block does not need, and takes the softmax along."""
        s = self.shape
        for b, n in self.blocks.items():
            heads = s.heads if b.causal else s.kv_heads
            queries = b.queries * (s.heads // heads)
            q = self._view("q", n, heads, queries, s.head_dim).detach()
            k, v = (self._view(name, n, heads, b.keys, s.head_dim).detach() for name in "kv")
            if self.backward:
                for x in (q, k, v):
                    x.requires_grad_(True)
            o = scaled_dot_product_attention(q, k, v, is_causal=b.causal)
            if self.backward:
                torch.autograd.grad(o, (q, k, v), self._view("o", n, heads, queries, s.head_dim))


class Limit:
    """The products of one piece of work, in the fastest of the known ways; `run` is what is timed."""

    def __init__(self, shape: Shape, needed: Work, backward: bool = False, dtype: torch.dtype = torch.float32):
        self.shape, self.needed = shape, needed
        self.linear = Linear(shape, min(max(PIECES), max(needed.tokens, needed.outputs)), backward, dtype)
        self.attention = Attention(shape, needed.blocks, backward, dtype)
        self.piece = fastest({p: lambda p=p: self.linear.run(needed.tokens, needed.outputs, p) for p in PIECES})
        self.way = fastest({"bmm": self.attention.bmm, "fused": self.attention.fused})

    def run(self) -> None:
        """All products once."""
        self.linear.run(self.needed.tokens, self.needed.outputs, self.piece)
        attend = getattr(self.attention, self.way)
        for _ in range(self.shape.layers):
            attend()


def fastest(ways: Mapping[Any, Callable[[], Any]], tries: int = 2, warm: bool = True) -> Any:
    """The key of the call that took least, best of `tries` each; with `warm` a first call of each is not counted."""
    best: dict[Any, float] = {}
    for name, call in ways.items():
        if warm:
            call()
        for _ in range(tries):
            began = time.perf_counter()
            call()
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - began)
    return min(best, key=lambda name: best[name])
