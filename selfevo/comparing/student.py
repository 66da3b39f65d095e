"""Means over seeds with Student's interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

QUANTILES = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
    2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042,
)  # fmt: skip
"""0.975 quantiles of Student's t for 1 to 30 degrees of freedom; more use the last, which is a little wide."""


@dataclass(frozen=True)
class OverSeeds:
    """The mean of one value per seed. `low`, `high`: its 95% Student interval, None for a single seed."""

    values: tuple[float, ...]
    mean: float
    low: float | None
    high: float | None


def over_seeds(values: Sequence[float]) -> OverSeeds | None:
    """Mean and interval of one value per seed; None for no values."""
    if not values:
        return None
    mean = fmean(values)
    if len(values) == 1:
        return OverSeeds(tuple(values), mean, None, None)
    half = QUANTILES[min(len(values) - 1, len(QUANTILES)) - 1] * stdev(values) / math.sqrt(len(values))
    return OverSeeds(tuple(values), mean, mean - half, mean + half)
