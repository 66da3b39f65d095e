"""Attention over the slots of the native engine, and the attention function that transformers' layers call while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from ..errors import EngineError
from ..policies import text_model
from .slots import Slots

NAME = "selfevo_slots"

_slots: ContextVar[tuple[Slots, bool]] = ContextVar("selfevo_slots")


def check(model: Any) -> None:
    """Raises EngineError for a model whose attention is not the plain full or sliding kind that `attention` computes."""
    inner = text_model(model)
    config = inner.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    odd = "chunked attention" if getattr(config, "attention_chunk_size", None) else ", ".join(sorted(kinds))
    if not odd and not getattr(inner, "_supports_attention_backend", False):
        odd = "an attention of its own"
    if odd:
        raise EngineError(f"the native engine does not serve {type(inner).__name__} ({odd}); use engine=vllm")


@contextmanager
def attending(model: Any, slots: Slots) -> Iterator[None]:
    """Inside, the model's attention reads `slots`; after, it is what it was."""
    config = text_model(model).config
    own = config._attn_implementation
    token = _slots.set((slots, own == "sdpa"))
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = own
        _slots.reset(token)


def step_attention(
    slots: Slots, layer: int, q: Tensor, scaling: float | None = None, window: int | None = None, cap: float | None = None
) -> Tensor:
    """The decoded token's attention to its row, queries [n, H, width] in, [n, H, width] out.

    Query heads that share keys are further query positions of one head, so keys and values are never repeated in memory.
    """
    (keys, values), L = slots.active[layer], slots.width
    columns = slice(slots.column - L, slots.column)
    n, heads, width = q.shape
    kv = values.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    if slots.along:
        k, v = keys.view(n * kv, width, -1)[..., columns], values.view(n * kv, -1, values.shape[3])[:, columns]
        scores = torch.baddbmm(_nothing(q.dtype), q.reshape(n * kv, heads // kv, width), k, beta=0, alpha=scale)
        if cap is not None:
            scores = cap * torch.tanh(scores / cap)
        hidden = slots.hidden(window)
        if hidden is not None:
            scores.view(n, heads, L).masked_fill_(hidden.unsqueeze(1), -torch.inf)
        return torch.bmm(torch.softmax(scores, -1), v).view(n, heads, -1)
    q = q.reshape(n, kv, heads // kv, width)
    seen = slots.hidden(window, seen=True)
    mask = None if seen is None else seen[:, None, None]
    return attend(q, keys[:, :, columns], values[:, :, columns], mask, scale, cap).reshape(n, heads, -1)


@cache
def _nothing(dtype: torch.dtype) -> Tensor:
    """What `baddbmm` adds nothing of."""
    return torch.zeros(1, dtype=dtype)


def step_over(slots: Slots) -> Any:
    """What `decoder.step.Step` asks for: store the new keys and values, attend to the row."""

    def over(layer: int, q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
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


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer, in the calling convention of transformers: query [n, H, T, d] in, [n, T, H, d] out."""
    slots, ignores_softcap = _slots.get()
    if s_aux is not None or position_bias is not None:
        raise EngineError("the native engine does not serve models with attention sinks or position biases; use engine=vllm")
    cap = None if ignores_softcap else softcap
    if slots.captured is None:
        return step_attention(slots, slots.layer, query[:, :, 0], scaling, sliding_window, cap).unsqueeze(1), None
    length, shared = query.shape[2], query.shape[1] // key.shape[1]
    if shared > 1:
        key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    if cap is None and (sliding_window is None or length <= sliding_window):
        out = scaled_dot_product_attention(query, key, value, scale=scaling, is_causal=True)
    else:
        at = torch.arange(length, device=query.device)
        seen = at <= at[:, None]
        if sliding_window is not None:
            seen &= at > at[:, None] - sliding_window
        out = attend(query, key, value, seen, scaling, cap)
    return out.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention)
