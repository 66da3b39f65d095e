"""The key-value cache of the native engine: one slot row per running reply, and the attention that reads it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, Cache

from ..errors import EngineError
from ..policies import text_model

NAME = "selfevo_slots"
STEP = 8
"""Columns are read in multiples of this, so that attention kernels see few shapes and aligned masks."""


class Slots(Cache):
    """Keys and values of up to `rows` replies, [rows, heads, length, width] a layer, left-aligned: position p sits in column p.

    Equal lengths are not needed: each decode step writes every active row at its own position and masks what lies beyond. Active
    rows are 0..n-1. While a prefill is under way the states only pass through and are captured, for `place` to copy to rows.
    """

    def __init__(self, rows: int, length: int):
        super().__init__(layers=[])
        self.rows, self.length = rows, _up(length)
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.captured: list[tuple[Tensor, Tensor]] | None = None
        self.masks: dict[int | None, Tensor] = {}

    def begin_prefill(self) -> None:
        """States that layers hand in from now on are captured."""
        self.captured = []

    def end_prefill(self) -> list[tuple[Tensor, Tensor]]:
        """What was captured: per layer, keys and values [contexts, heads, P, width]."""
        captured, self.captured = self.captured, None
        assert captured is not None
        return captured

    def place(self, states: list[tuple[Tensor, Tensor]], source: Tensor, start: int) -> None:
        """Copy prefilled contexts `source` [m] to rows start..start+m-1."""
        if not self.keys:
            for k, v in states:
                # Zeros, not empty: masked columns still meet a weight of zero, and zero times an uninitialised NaN is NaN.
                self.keys.append(k.new_zeros(self.rows, k.shape[1], self.length, k.shape[3]))
                self.values.append(v.new_zeros(self.rows, v.shape[1], self.length, v.shape[3]))
        stop, width = start + len(source), states[0][0].shape[2]
        self.grow(width)
        for (k, v), keys, values in zip(states, self.keys, self.values, strict=True):
            keys[start:stop, :, :width] = k[source]
            values[start:stop, :, :width] = v[source]

    def grow(self, length: int) -> None:
        """Make room for `length` columns (doubling, so that growth costs a constant per token)."""
        if length <= self.length:
            return
        new = _up(max(length, 2 * self.length))
        for store in (self.keys, self.values):
            for layer, old in enumerate(store):
                store[layer] = old.new_zeros(old.shape[0], old.shape[1], new, old.shape[3])
                store[layer][:, :, : self.length] = old
        self.length = new

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy the first `width` columns of rows `source` over rows `target`."""
        for store in (self.keys, self.values):
            for x in store:
                x[target, :, :width] = x[source, :, :width]

    def begin_step(self, positions: Tensor, longest: int) -> None:
        """The next forward pass decodes one token per active row, at `positions` [n], of which `longest` is the greatest."""
        self.grow(longest + 1)
        self.n, self.positions, self.width = len(positions), positions, min(_up(longest + 1), self.length)
        self.index = torch.arange(self.n, device=positions.device)
        self.masks.clear()

    def mask(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """Additive mask [n, 1, 1, width]: a row sees its own columns up to its position, the last `window` of them at most."""
        mask = self.masks.get(window)
        if mask is None:
            column, here = torch.arange(self.width, device=self.positions.device), self.positions.unsqueeze(1)
            seen = column <= here
            if window is not None:
                seen &= column > here - window
            mask = torch.where(seen, 0.0, torch.finfo(dtype).min).to(dtype)[:, None, None]
            self.masks[window] = mask
        return mask

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Called by a layer with its new keys and values [n, heads, T, width]; returns those to attend to."""
        if self.captured is not None:
            if len(self.captured) != layer_idx:
                raise EngineError("the native engine serves models whose every layer is plain attention; use engine=vllm for this one")
            self.captured.append((key_states, value_states))
            return key_states, value_states
        keys, values = self.keys[layer_idx], self.values[layer_idx]
        keys[self.index, :, self.positions] = key_states[:, :, 0]
        values[self.index, :, self.positions] = value_states[:, :, 0]
        return keys[: self.n, :, : self.width], values[: self.n, :, : self.width]

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always passed to the model, so nothing is inferred from this."""
        return 0


def _up(length: int) -> int:
    return -(-length // STEP) * STEP


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
    """Attention of one layer, in the calling convention of transformers: query [n, H, T, d] in, [n, T, H, d] out.

    Heads that share keys are laid out as further query positions of one head, so keys and values are never repeated in memory.
    """
    slots, ignores_softcap = _slots.get()
    if s_aux is not None or position_bias is not None:
        raise EngineError("the native engine does not serve models with attention sinks or position biases; use engine=vllm")
    cap = None if ignores_softcap else softcap
    n, heads, length, width = query.shape
    shared = heads // key.shape[1]
    if slots.captured is None:
        q = query.reshape(n, key.shape[1], shared, width)
        out = _attend(q, key, value, slots.mask(sliding_window, query.dtype), scaling, cap).reshape(n, 1, heads, value.shape[3])
        return out, None
    if shared > 1:
        key, value = (x.repeat_interleave(shared, dim=1) for x in (key, value))
    if cap is None and (sliding_window is None or length <= sliding_window):
        out = scaled_dot_product_attention(query, key, value, scale=scaling, is_causal=True)
    else:
        at = torch.arange(length, device=query.device)
        seen = at <= at[:, None]
        if sliding_window is not None:
            seen &= at > at[:, None] - sliding_window
        out = _attend(query, key, value, torch.where(seen, 0.0, torch.finfo(query.dtype).min).to(query.dtype), scaling, cap)
    return out.transpose(1, 2).contiguous(), None


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scaling: float | None, cap: float | None) -> Tensor:
    if cap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scaling)
    scores = q @ k.transpose(2, 3) * (q.shape[-1] ** -0.5 if scaling is None else scaling)
    weights = torch.softmax((cap * torch.tanh(scores / cap) + mask).float(), dim=-1).to(q.dtype)
    return weights @ v


AttentionInterface.register(NAME, attention)
