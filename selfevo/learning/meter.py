"""Means that are kept on the device until the update ends."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..ranks import Ranks


class Meter:
    """Sums and counts by name."""

    def __init__(self, device: torch.device):
        self._device = device
        self._sums: dict[str, list[Tensor]] = {}

    def add(self, name: str, total: Tensor | float, count: Tensor | float) -> None:
        """One more contribution to the mean total / count."""
        pair = torch.stack([torch.as_tensor(x, dtype=torch.float64).to(self._device).detach() for x in (total, count)])
        self._sums.setdefault(name, []).append(pair)

    def over(self, name: str, values: Tensor, mask: Tensor) -> None:
        """Masked values [B, T], or [B] counted once each."""
        values = values.detach()
        if values.ndim == 1:
            self.add(name, values.sum(), float(len(values)))
        else:
            self.add(name, (torch.where(mask != 0, values, 0.0) * mask).sum(), mask.sum())

    def report(self, ranks: Ranks, log: Callable[[str, float], None]) -> None:
        """Log every mean over all ranks, by name; those that counted nothing are left out."""
        names = sorted(self._sums)
        if ranks.count > 1:
            names = sorted({n for part in ranks.join({ranks.index: names}).values() for n in part})
        zero = torch.zeros(2, dtype=torch.float64, device=self._device)
        totals = [torch.stack(self._sums[n]).sum(0) if n in self._sums else zero.clone() for n in names]
        ranks.add(totals)
        for name, (total, count) in zip(names, [t.tolist() for t in totals], strict=True):
            if count:
                log(name, total / count)
