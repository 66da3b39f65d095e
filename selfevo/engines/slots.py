"""The key-value cache of the native engine: one slot row per running reply."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from ..errors import EngineError

LINE = 64
"""Bytes of a cache line."""


class Slots(Cache):
    """Keys and values of up to `rows` replies, left-aligned: position p sits in column p. Layer by layer,

    keys    [rows, heads, width, length] where `along` (on a CPU: products with keys that lie along the row take half the time),
            else [rows, heads, length, width];
    values  [rows, heads, length, width].

    Equal lengths are not needed: each decode step writes every active row at its own position and hides what lies beyond. Active
    rows are 0..n-1. While a prefill is under way the states only pass through and are captured, for `place` to copy to rows.
    Memory on a CPU is kept from call to call, since fresh pages cost more than the products: what an earlier call left there is finite
    and hidden. Shapes and alignment depend on the call alone, so that a call's results do too, bit for bit.
    """

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.rows = self.length = self.n = self.width = 0
        self.along = False
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.active: list[tuple[Tensor, Tensor]] = []
        self.captured: list[tuple[Tensor, Tensor]] | None = None
        self.layer = 0
        self._memory: dict[tuple[int, int], Tensor] = {}
        self._hidden: dict[tuple[int | None, bool], Tensor] = {}

    def begin(self, rows: int, length: int) -> None:
        """A new call: up to `rows` replies, `length` columns at first."""
        self.keys, self.values, self.active, self.captured = [], [], [], None
        self.rows, self.length = rows, _columns(length)

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
        stop, width = start + len(source), states[0][0].shape[2]
        if not self.keys:
            self.length = max(self.length, _columns(width))
            like = states[0][0]
            self.along = like.device.type == "cpu" and like.dtype in (torch.float32, torch.float64)
            for layer, (k, v) in enumerate(states):
                self.keys.append(self._room((layer, 0), k))
                self.values.append(self._room((layer, 1), v))
        self.grow(width)
        for (k, v), keys, values in zip(states, self.keys, self.values, strict=True):
            if self.along:
                keys[start:stop, ..., :width] = k[source].transpose(2, 3)
            else:
                keys[start:stop, :, :width] = k[source]
            values[start:stop, :, :width] = v[source]

    def grow(self, length: int) -> None:
        """Make room for `length` columns (doubling, so that growth costs a constant per token)."""
        if length <= self.length:
            return
        old, self.length = self.length, _columns(max(length, 2 * self.length))
        self.active = []
        for which, store in enumerate((self.keys, self.values)):
            for layer, x in enumerate(store):
                along = self.along and which == 0
                heads, width = (x.shape[1], x.shape[2] if along else x.shape[3])
                shape = (self.rows, heads, width, self.length) if along else (self.rows, heads, self.length, width)
                store[layer] = x.new_zeros(shape)
                if along:
                    store[layer][..., :old] = x
                else:
                    store[layer][:, :, :old] = x

    def move(self, source: list[int], target: list[int], width: int) -> None:
        """Copy the first `width` columns of rows `source` over rows `target`."""
        for store in (self.keys, self.values):
            along = self.along and store is self.keys
            for x in store:
                used = x[..., :width] if along else x[:, :, :width]
                for a, b in zip(source, target, strict=True):
                    used[b].copy_(used[a])

    def begin_step(self, positions: Tensor, longest: int, together: bool) -> None:
        """The next forward pass decodes one token per active row, at `positions` [n], of which `longest` is the greatest;
        `together`: all of them are equal."""
        self.grow(longest + 1)
        if self.n != len(positions) or not self.active:
            self.n = len(positions)
            self.index = torch.arange(self.n, device=positions.device)
            self.active = [(k[: self.n], v[: self.n]) for k, v in zip(self.keys, self.values, strict=True)]
        self.positions, self.width, self.together = positions, longest + 1, together
        self._hidden.clear()

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keys and values [n, heads, width] of the token that is being decoded."""
        k, v = self.active[layer]
        if self.together:
            k.select(3 if self.along else 2, self.width - 1).copy_(keys)
            v.select(2, self.width - 1).copy_(values)
            return
        if self.along:
            k[self.index, :, :, self.positions] = keys
        else:
            k[self.index, :, self.positions] = keys
        v[self.index, :, self.positions] = values

    def hidden(self, window: int | None, seen: bool = False) -> Tensor | None:
        """bool [n, width], True on columns beyond a row's position or, with a window, too far before it (`seen`: the opposite).
        None where every row sees every column."""
        if self.together and (window is None or window >= self.width):
            return None
        if (window, seen) not in self._hidden:
            column, here = torch.arange(self.width, device=self.positions.device), self.positions.unsqueeze(1)
            hidden = column > here
            if window is not None:
                hidden |= column <= here - window
            self._hidden[window, seen] = ~hidden if seen else hidden
        return self._hidden[window, seen]

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Called by a layer with its new keys and values [n, heads, T, width]; in a decode step `attention` reads the slots itself."""
        if self.captured is None:
            self.write(layer_idx, key_states[:, :, 0], value_states[:, :, 0])
            self.layer = layer_idx
        elif len(self.captured) != layer_idx:
            raise EngineError("the native engine serves models whose every layer is plain attention; use engine=vllm for this one")
        else:
            self.captured.append((key_states, value_states))
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always passed to the model, so nothing is inferred from this."""
        return 0

    def _room(self, name: tuple[int, int], like: Tensor) -> Tensor:
        """Memory for one layer's keys (or values), for states shaped `like` [contexts, heads, P, width]."""
        heads, width = like.shape[1], like.shape[3]
        shape = (self.rows, heads, width, self.length) if self.along and name[1] == 0 else (self.rows, heads, self.length, width)
        count = self.rows * heads * width * self.length
        if like.device.type != "cpu":
            return like.new_zeros(shape)
        flat = self._memory.get(name)
        if flat is None or flat.dtype != like.dtype or flat.numel() < count:
            flat = self._memory[name] = _zeros(count, like.dtype)
        return flat[:count].view(shape)


def _columns(length: int) -> int:
    """At least `length`, and an odd number of cache lines of float32: rows of a power of two would all fall into one cache set."""
    lines = -(-length * 4 // LINE)
    return (lines | 1) * LINE // 4


def _zeros(count: int, dtype: torch.dtype) -> Tensor:
    """Zeros whose pages the system hands out when they are first touched, aligned to a cache line."""
    size = count * dtype.itemsize
    raw = torch.from_numpy(np.zeros(size + LINE, np.uint8))
    start = -raw.data_ptr() % LINE
    return raw[start : start + size].view(dtype)
