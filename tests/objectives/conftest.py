"""Batches whose log-probs are written down, so that losses can be worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest


class Written:
    """`learning.batch.Model` with given numbers."""

    def __init__(self, logp: Any, others: Mapping[str, Any]):
        self._logp, self._others = logp, others

    def logp(self) -> Any:
        return self._logp

    def other(self, name: str) -> Any:
        return self._others[name]


def written(logp: Sequence[Sequence[float]], columns: Mapping[str, Sequence[Any]] | None = None, **others: Any) -> Any:
    """A batch from ragged rows of log-probs. `columns`: name -> one entry per row; `others`: needs, "logp_base" for "logp:base".

    `batch.theta` is the leaf [B, T] behind `batch.logp`.
    """
    import torch

    from selfevo.learning.batch import TermBatch
    from selfevo.records import Sample

    T = max(map(len, logp))
    theta = torch.tensor([[*row, *[0.0] * (T - len(row))] for row in logp], requires_grad=True)
    samples = []
    for i, row in enumerate(logp):
        mine = {name: entries[i] for name, entries in (columns or {}).items()}
        samples.append(Sample(f"s{i}", (1,) * len(row), {"train": (1,)}, mine))
    ahead = {name.replace("_", ":"): value for name, value in others.items() if name.startswith("logp_")}
    present = {name: torch.tensor(value) for name, value in others.items() if not name.startswith("logp_")}
    batch = TermBatch(samples, ahead, Written(theta, present), torch.device("cpu"), float).at(range(len(samples)))
    batch.theta = theta
    return batch


def reduced(term: Any, batch: Any) -> Any:
    """The term's loss as the learner would reduce it."""
    from selfevo.learning.reduce import denominator, summed

    view = batch.narrow(term.where)
    return summed(term, term.loss(view, term.stats(view)), view.mask) / denominator("term", term, view)


@pytest.fixture
def write() -> Any:
    return written


@pytest.fixture
def reduce() -> Any:
    return reduced
