"""Attention over the slots of the native engine, and over contexts that are prefilled."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from ..decoder.compiled import Compiled
from .slots import Slots


def step_attention(
    slots: Slots, layer: int, q: Tensor, scaling: float | None = None, window: int | None = None, cap: float | None = None
) -> Tensor:
    """The decoded token's attention to its row, queries [n, kv heads, H / kv heads, width] in, [n, H, width] out.

    Query heads that share keys are further query positions of one head, so keys and values are never repeated in memory.
    """
    (keys, values), L = slots.active[layer], slots.width
    columns = slice(slots.column - L, slots.column)
    n, kv, shared, width = q.shape
    heads = kv * shared
    scale = width**-0.5 if scaling is None else scaling
    if q.device.type == "cpu" and q.dtype in (torch.float32, torch.float64):
        # Two products take half to two thirds of the time of the fused kernel, which is made for many queries.
        k, v = (x.view(n * kv, -1, width)[:, columns] for x in (keys, values))
        scores = torch.baddbmm(_nothing(q.dtype), q.reshape(n * kv, shared, width), k.transpose(1, 2), beta=0, alpha=scale)
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        hidden = slots.hidden(window)
        if hidden is not None:
            scores.view(n, heads, L).masked_fill_(hidden.unsqueeze(1), -torch.inf)
        return torch.bmm(torch.softmax(scores, -1), v).view(n, heads, -1)
    seen = slots.hidden(window, seen=True)
    mask = None if seen is None else seen[:, None, None]
    return attend(q, keys[:, :, columns], values[:, :, columns], mask, scale, cap).reshape(n, heads, width)


@cache
def _nothing(dtype: torch.dtype) -> Tensor:
    """What `baddbmm` adds nothing of."""
    return torch.zeros(1, dtype=dtype)


def step_over(slots: Slots, compiled: Compiled | None) -> Any:
    """What `decoder.step.Step` asks for: store the new keys and values, attend to the row."""

    def over(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
        if compiled is not None:
            return compiled.attend(q, k, v, *slots.active[layer], slots.column - 1, slots.positions, window)
        slots.write(layer, k, v)
        return step_attention(slots, layer, q, window=window).view(len(q), -1)

    return over


def attend(q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None, scale: float | None, cap: float | None) -> Tensor:
    """softmax(q k' scale) v over [n, heads, T, width]; `seen` bool broadcastable to [n, heads, T, columns]; `cap` soft-caps scores."""
    if cap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=seen, scale=scale)
    scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scale is None else scale)
    scores = cap * torch.tanh(scores / cap)
    if seen is not None:
        scores = scores.masked_fill(~seen, -torch.inf)
    return torch.softmax(scores.float(), dim=-1).to(q.dtype) @ v


def causal(q: Tensor, k: Tensor, v: Tensor, scale: float | None = None, window: int | None = None, cap: float | None = None) -> Tensor:
    """What each position of contexts sees of itself and those before it: queries [n, H, T, d], keys and values [n, H / g, T, d]."""
    length, shared = q.shape[2], q.shape[1] // k.shape[1]
    if shared > 1:
        k, v = (x.repeat_interleave(shared, dim=1) for x in (k, v))
    if cap is None and (window is None or length <= window):
        return scaled_dot_product_attention(q, k, v, scale=scale, is_causal=True)
    at = torch.arange(length, device=q.device)
    seen = at <= at[:, None]
    if window is not None:
        seen &= at > at[:, None] - window
    return attend(q, k, v, seen, scale, cap)
