"""`protocols.Batch` in tensors: what terms see, for a whole optimizer mini-batch (`stats`) or one micro-batch (`loss`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ..errors import UserError, nearest
from ..protocols import Number
from ..records import Sample

Ahead = Mapping[str, Sequence[Any]]
"""Needs computed before the first step: name -> per sample a float32 array [T], or None where it was not computed."""


class Model(Protocol):
    """What the present weights say of the batch's rows, [B, T] and float32, 0 on padding."""

    def logp(self) -> Tensor:
        """Log-probs of the response."""

    def other(self, name: str) -> Any:
        """What `learning.needs` calls entropy, value, full and topk."""


def padded(arrays: Sequence[Any], T: int, device: torch.device) -> Tensor:
    """[B, T] float32 from arrays of length <= T, zeros behind."""
    out = np.zeros((len(arrays), T), dtype=np.float32)
    for i, a in enumerate(arrays):
        out[i, : len(a)] = a
    return torch.from_numpy(out).to(device)


class TermBatch:
    """Rows of one batch. `mask` [B, T] counts tokens, `size` is B; see `protocols.Batch` for the rest."""

    def __init__(self, samples: Sequence[Sample], ahead: Ahead, model: Model, device: torch.device, value: Callable[[Number], float]):
        self.samples, self._ahead, self._model, self._device, self.value = list(samples), ahead, model, device, value
        self._width = max((len(s.response) for s in self.samples), default=1)
        self.rows: Tensor | None = None
        self._scale: Tensor | None = None
        self._kept: dict[str, Tensor] = {}
        self._mask: Tensor | None = None

    # What is narrowed is read through `_pick`, so that a term with `where` never sees the other rows.
    def _pick(self, value: Any) -> Any:
        if self.rows is None:
            return value
        if isinstance(value, Mapping):
            return {k: v[self.rows] for k, v in value.items()}
        return value[self.rows]

    @property
    def size(self) -> int:
        """B."""
        return len(self.samples) if self.rows is None else len(self.rows)

    @property
    def ids(self) -> list[str]:
        """Sample ids, row by row."""
        return [s.id for s in self._mine()]

    def _mine(self) -> list[Sample]:
        return self.samples if self.rows is None else [self.samples[i] for i in self.rows.tolist()]

    @property
    def mask(self) -> Tensor:
        """[B, T] column `mask` (1 where absent), times the `where` column of a narrowed batch."""
        if self._mask is None:
            masks = [_spread(s.columns.get("mask", 1.0), len(s.response)) for s in self.samples]
            self._mask = padded(masks, self._width, self._device)
        mask = self._pick(self._mask)
        return mask if self._scale is None else mask * self._scale

    @property
    def logp(self) -> Tensor:
        """[B, T] log pi_theta(token)."""
        return self._pick(self._model.logp())

    def column(self, name: str) -> Tensor:
        """[B, T]; a number per row is broadcast over its tokens."""
        if name not in self._kept:
            arrays = [_spread(_column(s, name), len(s.response)) for s in self.samples]
            self._kept[name] = padded(arrays, self._width, self._device)
        return self._pick(self._kept[name])

    def row(self, name: str) -> Tensor:
        """[B] of a column that holds one number per row."""
        values = []
        for s in self._mine():
            value = _column(s, name)
            if isinstance(value, tuple):
                raise UserError(f"sample {s.id}: column '{name}' has a value per token where one number for the row is needed")
            values.append(value)
        return torch.tensor(values, dtype=torch.float32, device=self._device)

    def need(self, name: str) -> Any:
        """See `learning.needs.Need`."""
        if name == "logp:live" or (name == "logp:old" and name not in self._ahead):
            return self.logp.detach()
        if name == "logp:sampler":
            return self._sampler()
        if name in self._ahead:
            if name not in self._kept:
                arrays = [self._ahead[name][i] for i in self._positions]
                if any(a is None for a in arrays):
                    raise UserError(f"a term's stats asked for '{name}' on rows that are skipped: set skip_zero: false on the learner")
                self._kept[name] = padded(arrays, self._width, self._device)
            return self._pick(self._kept[name])
        return self._pick(self._model.other(name))

    def _sampler(self) -> Tensor:
        for s in self._mine():
            if "logp:sampler" not in s.columns:
                raise UserError(f"sample {s.id} has no sampler log-probs (its context was changed, or its tokens are not the"
                                " policy's): use old: old, or a term that needs none")  # fmt: skip
        arrays = [_spread(s.columns.get("logp:sampler", 0.0), len(s.response)) for s in self.samples]
        return self._pick(padded(arrays, self._width, self._device))

    def at(self, positions: Sequence[int]) -> TermBatch:
        """Tell where in the needs computed ahead each row stands; returns self."""
        self._positions = list(positions)
        return self

    def units(self) -> Tensor:
        """[U, P] row indices, units by appearance, rows by `place`."""
        found: dict[str, list[int]] = {}
        mine = self._mine()
        for i, s in enumerate(mine):
            found.setdefault(s.unit or f"\0{i}", []).append(i)
        sizes = {len(u) for u in found.values()}
        if len(sizes) > 1:
            raise UserError(f"units of {sorted(sizes)} rows in one batch: a term over units needs them all of one size")
        ordered = [sorted(u, key=lambda i: mine[i].place) for u in found.values()]
        return torch.tensor(ordered, dtype=torch.int64, device=self._device).reshape(len(ordered), -1)

    def narrow(self, where: str | None) -> TermBatch:
        """The rows where a column is not zero on every token, with the mask times that column. None: this batch."""
        if where is None:
            return self
        scale = self.column(where)
        rows = torch.nonzero(((scale * self.mask) != 0).any(1)).squeeze(1)
        view = object.__new__(TermBatch)
        view.__dict__.update(self.__dict__)
        view.rows, view._scale = rows, scale[rows]
        return view


def _spread(value: Any, T: int) -> Any:
    return np.asarray(value, dtype=np.float32) if isinstance(value, tuple) else np.full(T, value, dtype=np.float32)


def _column(sample: Sample, name: str) -> Any:
    if name not in sample.columns:
        raise UserError(f"sample {sample.id} has no column '{name}'{nearest(name, sample.columns)}")
    return sample.columns[name]
