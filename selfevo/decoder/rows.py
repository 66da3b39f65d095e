"""Contexts and responses as one stream of tokens: equal contexts once, no padding; each row attends to its context and itself.

A stream is [context | response | response ... | context | response ...]. The last response token predicts nothing and is left out.
Products run over the stream; only attention pads, row by row, among rows of like length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

LIKE = 0.8
"""Rows of one block are at least this share of its longest."""
CELLS = 1 << 22
"""Most query-key pairs of one block, padding included."""


class Place(NamedTuple):
    """One row of the stream: `P` tokens of context from place `context`, `T` of its own from place `own`."""

    context: int
    P: int
    own: int
    T: int


@dataclass
class Block:
    """R rows that attend together, their own tokens [R, T] to their context's and their own [R, L]. prefix [R]: context lengths;
    `alone`: all of them are 0."""

    rows: int
    T: int
    L: int
    prefix: Tensor
    alone: bool

    def seen(self, window: int | None) -> Tensor | None:
        """bool [R or 1, 1, T, L]: query t of a row whose context has P tokens sees columns up to P + t. None: plain causal."""
        narrow = window is not None and window < self.L
        if self.alone and not narrow:
            return None
        if narrow not in self._masks:
            same = bool((self.prefix == self.prefix[0]).all())
            at = (self.prefix[:1] if same else self.prefix)[:, None, None] + torch.arange(self.T, device=self.prefix.device)[:, None]
            column = torch.arange(self.L, device=self.prefix.device)
            mask = column <= at
            if window is not None and narrow:
                mask &= column > at - window
            self._masks[narrow] = mask.unsqueeze(1)
        return self._masks[narrow]

    def __post_init__(self) -> None:
        self._masks: dict[bool, Tensor] = {}


@dataclass
class Layout:
    """Where everything is. ids, positions [n] of the stream; `predicts` [N] the place that predicts each response token.

    query, key: places in the stream of every block's padded rows, block by block (0 on padding); where [n]: the place of each token
    among the padded queries.
    """

    ids: Tensor
    positions: Tensor
    predicts: Tensor
    blocks: list[Block]
    query: Tensor
    key: Tensor
    where: Tensor

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
        """`decoder.stream.Attend` over the blocks."""
        queries, keys = [b.rows * b.T for b in self.blocks], [b.rows * b.L for b in self.blocks]
        padded = (x.index_select(0, i).split(n) for x, i, n in ((q, self.query, queries), (k, self.key, keys), (v, self.key, keys)))
        parts = []
        for b, Q, K, V in zip(self.blocks, *padded, strict=True):
            mask = b.seen(window)
            Q, K, V = (x.view(b.rows, n, *x.shape[1:]).transpose(1, 2) for x, n in ((Q, b.T), (K, b.L), (V, b.L)))
            shared = Q.shape[1] // K.shape[1]
            if shared > 1 and mask is not None and Q.is_cuda:  # with a mask, CUDA's fast kernels know no heads that share keys
                K, V, shared = K.repeat_interleave(shared, 1), V.repeat_interleave(shared, 1), 1
            seen = scaled_dot_product_attention(Q, K, V, attn_mask=mask, is_causal=mask is None, enable_gqa=shared > 1)
            parts.append(seen.transpose(1, 2).reshape(b.rows * b.T, -1))
        return torch.cat(parts).index_select(0, self.where)


def distinct(contexts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]]) -> int:
    """Tokens of the stream of these rows."""
    return sum(map(len, set(contexts))) + sum(len(r) - 1 for r in responses)


def layout(contexts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]], device: torch.device) -> Layout:
    """The stream of responses, none of them empty, each under its context (not empty either)."""
    ids: list[int] = []
    positions: list[int] = []
    predicts: list[int] = []
    start: dict[tuple[int, ...], int] = {}
    rows: list[Place] = []
    for context, response in zip(contexts, responses, strict=True):
        if context not in start:
            start[context] = len(ids)
            rows.append(Place(0, 0, len(ids), len(context)))
            ids += context
            positions += range(len(context))
        own, length = len(ids), len(response) - 1
        ids += response[:-1]
        positions += range(len(context), len(context) + length)
        predicts += [start[context] + len(context) - 1, *range(own, own + length)]
        if length:
            rows.append(Place(start[context], len(context), own, length))
    blocks = _alike(rows)
    stream, places, predicting = (torch.tensor(x, dtype=torch.long).to(device) for x in (ids, positions, predicts))
    query, key = (torch.cat(x).to(device) for x in zip(*map(_padded, blocks), strict=True))
    where = torch.empty(len(ids), dtype=torch.long)
    real = query >= 0
    where[query[real]] = real.nonzero().squeeze(1)
    return Layout(stream, places, predicting, [_block(x, device) for x in blocks], query.clamp(min=0), key, where.to(device))


def _alike(rows: list[Place]) -> list[list[Place]]:
    """Rows of like length together, contexts apart from responses."""
    blocks: list[list[Place]] = []
    widest = 0
    for row in sorted(rows, key=lambda r: (r.P > 0, -r.T, -r.P, r.own)):
        first = blocks[-1][0] if blocks else None
        widest = max(widest, row.P + row.T)
        alike = first is not None and (first.P > 0) == (row.P > 0) and row.T >= LIKE * first.T
        if first is not None and alike and (len(blocks[-1]) + 1) * first.T * widest <= CELLS:
            blocks[-1].append(row)
        else:
            blocks.append([row])
            widest = row.P + row.T
    return blocks


def _padded(rows: list[Place]) -> tuple[Tensor, Tensor]:
    """Places in the stream of the queries [R * T] (-1 on padding) and keys [R * L] (0 on padding) of a block."""
    T, L = max(r.T for r in rows), max(r.P + r.T for r in rows)
    query, key = torch.full((len(rows), T), -1), torch.zeros(len(rows), L, dtype=torch.long)
    for i, r in enumerate(rows):
        own = torch.arange(r.own, r.own + r.T)
        query[i, : r.T] = own
        key[i, : r.P] = torch.arange(r.context, r.context + r.P)
        key[i, r.P : r.P + r.T] = own
    return query.view(-1), key.view(-1)


def _block(rows: list[Place], device: torch.device) -> Block:
    T, L = max(r.T for r in rows), max(r.P + r.T for r in rows)
    return Block(len(rows), T, L, torch.tensor([r.P for r in rows], device=device), alone=not any(r.P for r in rows))
