"""The learning rate over optimizer steps."""

from __future__ import annotations

import math


def factor(kind: str, step: int, warmup: int, total: int | None) -> float:
    """What the base rate is multiplied by at optimizer step `step` (0 for the first).

    Warm-up: (step + 1) / (warmup + 1), so that the first step is not wasted at 0. Then "constant": 1; "linear": falls to 0 at
    step `total`; "cosine": (1 + cos(pi x)) / 2 with x the fraction of the steps after warm-up (Loshchilov & Hutter 2017, eq. 5).
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if kind == "constant" or total is None:
        return 1.0
    x = min(1.0, (step - warmup) / max(1, total - warmup))
    return 1.0 - x if kind == "linear" else (1 + math.cos(math.pi * x)) / 2
