"""The key-value cache of the native engine: one slot row per running reply."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

LINE = 64
"""Bytes of a cache line."""


class Slots:
    """Keys and values [rows, heads, length, width] of up to `rows` replies, layer by layer, right-aligned: each row's last token sits in
    the column before `column`. What a reply has of a head then lies in one piece, which is how memory is read fastest.

    Equal lengths are not needed: a decode step writes every active row into one column and hides what lies before a row's start. Active
    rows are 0..n-1.
    Shapes and alignment depend on the call alone, so that a call's results do too, bit for bit.
    """

    def __init__(self, blank: bool = True) -> None:
        """`blank`: columns before a row's start hold zeros (at first), for attention that multiplies all columns by something."""
        self.blank = blank
        self.rows = self.length = self.column = self.n = self.width = 0
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.active: list[tuple[Tensor, Tensor]] = []
        self._hidden: dict[tuple[int | None, bool], Tensor] = {}

    def begin(self, rows: int, length: int) -> None:
        """A new call: up to `rows` replies, `length` columns at first."""
        self.keys, self.values, self.active = [], [], []
        self.rows, self.length, self.column = rows, length, 0

    def place(self, states: list[tuple[Tensor, Tensor]], contexts: list[tuple[int, int]], start: int) -> None:
        """Copy prefilled contexts to rows from `start` on: `contexts` holds (length, rows that take it) of each. The first call's
        longest context says where they end; later ones end where the running replies do, and are no longer than those."""
        longest = max(length for length, _ in contexts)
        if not self.keys:
            self.column, self.length = longest, max(self.length, longest)
            for k, v in states:
                self.keys.append(self._room(k))
                self.values.append(self._room(v))
        elif longest > self.column:
            self._slide(self.column, longest)
        for (k, v), keys, values in zip(states, self.keys, self.values, strict=True):
            at = start
            for i, (length, count) in enumerate(contexts):
                rows, columns = slice(at, at + count), slice(self.column - length, self.column)
                keys[rows, :, columns] = k[i, :, :length]
                values[rows, :, columns] = v[i, :, :length]
                at += count

    def move(self, source: list[int], target: list[int], width: int) -> None:
        """Copy the last `width` columns of rows `source` over rows `target`."""
        columns = slice(self.column - width, self.column)
        for x in self.keys + self.values:
            used = x[:, :, columns]
            for a, b in zip(source, target, strict=True):
                used[b].copy_(used[a])

    def begin_step(self, positions: Tensor, longest: int, together: bool) -> None:
        """The next forward pass decodes one token per active row, at `positions` [n], of which `longest` is the greatest;
        `together`: all of them are equal."""
        if self.column == self.length:
            self._slide(longest, longest)
        if self.n != len(positions) or not self.active:
            self.n = len(positions)
            self.active = [(k[: self.n], v[: self.n]) for k, v in zip(self.keys, self.values, strict=True)]
        self.column += 1
        self.positions, self.width, self.together = positions, longest + 1, together
        self._hidden.clear()

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Keys and values [n, heads, width] of the token that is being decoded."""
        k, v = self.active[layer]
        k.select(2, self.column - 1).copy_(keys)
        v.select(2, self.column - 1).copy_(values)

    def hidden(self, window: int | None, seen: bool = False) -> Tensor | None:
        """bool [n, width] over the last `width` columns, True before a row's start and, with a window, too far back (`seen`: the
        opposite). None where every row sees all of them."""
        narrow = window is not None and window < self.width
        if self.together and not narrow:
            return None
        if (window, seen) not in self._hidden:
            column, here = torch.arange(self.width, device=self.positions.device), self.positions.unsqueeze(1)
            hidden = column < self.width - 1 - here
            if window is not None and narrow:
                hidden |= column <= self.width - 1 - window
            self._hidden[window, seen] = ~hidden if seen else hidden
        return self._hidden[window, seen]

    def _slide(self, kept: int, column: int) -> None:
        """Have the last `kept` columns end at `column`, in the same memory if they take at most half of it, else in twice as much."""
        grow = 2 * column > self.length
        old, new = slice(self.column - kept, self.column), slice(column - kept, column)
        self.length = 2 * column if grow else self.length
        for store in (self.keys, self.values):
            for layer, x in enumerate(store):
                part = x[:, :, old].clone()
                if grow:
                    store[layer] = self._room(x)
                store[layer][:, :, new] = part
        self.column, self.active = column, []

    def _room(self, like: Tensor) -> Tensor:
        """Memory for one layer's keys (or values), for states shaped `like` [contexts, heads, P, width]."""
        shape = (self.rows, like.shape[1], self.length, like.shape[3])
        return self._line(math.prod(shape), like.dtype).view(shape) if like.device.type == "cpu" else like.new_zeros(shape)

    def _line(self, count: int, dtype: torch.dtype) -> Tensor:
        """Numbers whose pages the system hands out when they are first touched, aligned to a cache line."""
        size = count * dtype.itemsize
        raw = torch.from_numpy((np.zeros if self.blank else np.empty)(size + LINE, np.uint8))
        start = -raw.data_ptr() % LINE
        return raw[start : start + size].view(dtype)
