"""Contexts and responses as one stream of tokens: equal contexts once, no padding; each row attends to its context and itself.

A stream is [context | response | response ... | context | response ...]. The last response token predicts nothing and is left out.
Products run over the stream; only attention pads, row by row, among rows of like length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

LIKE = 0.75
"""Rows of one block are at least this share of its longest."""
CELLS = 1 << 22
"""Most query-key pairs of one block, padding included."""


@dataclass
class Block:
    """R rows that attend together: queries are their own tokens, keys their context's tokens and their own.

    query [R * T], key [R * L]: places in the stream (0 on padding). place: where real queries stand in [R * T]; out: their places
    in the stream. prefix [R]: context lengths; `alone`: all of them are 0.
    """

    query: Tensor
    key: Tensor
    rows: int
    T: int
    L: int
    place: Tensor
    out: Tensor
    prefix: Tensor
    alone: bool

    def seen(self, window: int | None) -> Tensor | None:
        """bool [R or 1, 1, T, L]: query t of a row whose context has P tokens sees columns up to P + t. None: plain causal."""
        narrow = window is not None and window < self.L
        if self.alone and not narrow:
            return None
        if narrow not in self._masks:
            same = bool((self.prefix == self.prefix[0]).all())
            at = (self.prefix[:1] if same else self.prefix)[:, None, None] + torch.arange(self.T, device=self.key.device)[:, None]
            column = torch.arange(self.L, device=self.key.device)
            mask = column <= at
            if window is not None and narrow:
                mask &= column > at - window
            self._masks[narrow] = mask.unsqueeze(1)
        return self._masks[narrow]

    def __post_init__(self) -> None:
        self._masks: dict[bool, Tensor] = {}


@dataclass
class Layout:
    """Where everything is: ids, positions [n] of the stream; `predicts` [N] the place that predicts each response token."""

    ids: Tensor
    positions: Tensor
    predicts: Tensor
    blocks: list[Block]

    def attend(self, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
        """`decoder.stream.Attend` over the blocks."""
        _, heads, width = q.shape
        parts = []
        for b in self.blocks:
            Q = q.index_select(0, b.query).view(b.rows, b.T, heads, width).transpose(1, 2)
            K = k.index_select(0, b.key).view(b.rows, b.L, -1, width).transpose(1, 2)
            V = v.index_select(0, b.key).view(b.rows, b.L, -1, v.shape[2]).transpose(1, 2)
            mask = b.seen(window)
            seen = scaled_dot_product_attention(Q, K, V, attn_mask=mask, is_causal=mask is None, enable_gqa=heads > k.shape[1])
            parts.append(seen.transpose(1, 2).reshape(b.rows * b.T, -1).index_select(0, b.place))
        return torch.cat(parts).index_select(0, self.back)

    def __post_init__(self) -> None:
        order = torch.cat([b.out for b in self.blocks])
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        self.back = back


def distinct(contexts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]]) -> int:
    """Tokens of the stream of these rows."""
    return sum(map(len, set(contexts))) + sum(len(r) - 1 for r in responses)


def layout(contexts: Sequence[tuple[int, ...]], responses: Sequence[tuple[int, ...]], device: torch.device) -> Layout:
    """The stream of responses, none of them empty, each under its context (not empty either)."""
    ids: list[int] = []
    positions: list[int] = []
    predicts: list[int] = []
    start: dict[tuple[int, ...], int] = {}
    rows: list[tuple[int, int, int, int]] = []  # (context's place, its length, own place, own length)
    for context, response in zip(contexts, responses, strict=True):
        if context not in start:
            start[context] = len(ids)
            rows.append((0, 0, len(ids), len(context)))
            ids += context
            positions += range(len(context))
        own, length = len(ids), len(response) - 1
        ids += response[:-1]
        positions += range(len(context), len(context) + length)
        predicts += [start[context] + len(context) - 1, *range(own, own + length)]
        if length:
            rows.append((start[context], len(context), own, length))
    stream, places, predicting = (torch.tensor(x, dtype=torch.long).to(device) for x in (ids, positions, predicts))
    return Layout(stream, places, predicting, [_block(chosen, device) for chosen in _alike(rows)])


def _alike(rows: list[tuple[int, int, int, int]]) -> list[list[tuple[int, int, int, int]]]:
    """Rows of like length together, contexts apart from responses."""
    blocks: list[list[tuple[int, int, int, int]]] = []
    for row in sorted(rows, key=lambda r: (r[1] > 0, -r[3], -r[1], r[2])):
        first = blocks[-1][0] if blocks else None
        if first is not None and (first[1] > 0) == (row[1] > 0) and row[3] >= LIKE * first[3]:
            widest = max(first[1] + first[3], max(r[1] + r[3] for r in (*blocks[-1], row)))
            if (len(blocks[-1]) + 1) * first[3] * widest <= CELLS:
                blocks[-1].append(row)
                continue
        blocks.append([row])
    return blocks


def _block(rows: list[tuple[int, int, int, int]], device: torch.device) -> Block:
    T, L = max(r[3] for r in rows), max(r[1] + r[3] for r in rows)
    query, key = torch.zeros(len(rows), T, dtype=torch.long), torch.zeros(len(rows), L, dtype=torch.long)
    real = torch.zeros(len(rows), T, dtype=torch.bool)
    for i, (context, P, own, length) in enumerate(rows):
        query[i, :length] = torch.arange(own, own + length)
        key[i, :P] = torch.arange(context, context + P)
        key[i, P : P + length] = torch.arange(own, own + length)
        real[i, :length] = True
    place = real.view(-1).nonzero().squeeze(1)
    prefix = torch.tensor([r[1] for r in rows], device=device)
    query, key, place = query.view(-1).to(device), key.view(-1).to(device), place.to(device)
    return Block(query, key, len(rows), T, L, place, query[place], prefix, alone=not any(r[1] for r in rows))
