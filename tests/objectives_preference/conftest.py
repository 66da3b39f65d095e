"""A batch of plain tensors: what a preference term sees, with no learner behind it."""

from __future__ import annotations

import pytest
import torch
from double import exact_norms


class Batch:
    """`logp`, `ref` and `mask` are [B, T]; `columns` hold a number per row; units are pairs of neighbours unless given."""

    def __init__(self, logp, ref=None, mask=None, units=None, **columns):
        self.logp = torch.as_tensor(logp, dtype=torch.float64)
        self.ref = torch.zeros_like(self.logp) if ref is None else torch.as_tensor(ref, dtype=torch.float64)
        self.mask = torch.ones_like(self.logp) if mask is None else torch.as_tensor(mask, dtype=torch.float64)
        self.size = len(self.logp)
        self.columns = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in columns.items()}
        self._units = torch.arange(self.size).reshape(-1, 2) if units is None else torch.as_tensor(units)

    def row(self, name):
        return self.columns[name]

    def column(self, name):
        return self.columns[name].unsqueeze(1).expand_as(self.logp)

    def need(self, name):
        assert name == "logp:solver@base"
        return self.ref

    def units(self):
        return self._units

    def value(self, number):
        return float(number)

    def rows(self, indices):
        """The part of the batch with these rows (whole units, in order)."""
        part = Batch(self.logp[indices], self.ref[indices], self.mask[indices], torch.empty(0, 2), **{})
        part.columns = {k: v[indices] for k, v in self.columns.items()}
        part._units = torch.arange(len(indices)).reshape(-1, 2)
        return part


@pytest.fixture(autouse=True, scope="session")
def in_double():
    """Float64 models are that throughout."""
    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


@pytest.fixture
def batch():
    return Batch


@pytest.fixture
def random_batch():
    """(pairs=3, T=5, seed=0): random log-probs and a mask with uneven lengths; no columns."""

    def make(pairs=3, T=5, seed=0, **columns):
        g = torch.Generator().manual_seed(seed)
        logp, ref = (-torch.rand(2 * pairs, T, generator=g, dtype=torch.float64) * 3 for _ in range(2))
        lengths = torch.randint(1, T + 1, (2 * pairs, 1), generator=g)
        return Batch(logp, ref, (torch.arange(T) < lengths).double(), **columns)

    return make
