"""What components ask of a run, for benchmarks that call them without one."""

from __future__ import annotations

import random
from typing import Any

from selfevo import seeds


class Context:
    """A `protocols.RunCtx` with real seeds and no run; `metrics` collects what was logged."""

    name, iteration, path = "", 0, "bench.0/train"

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}

    def seed(self, *key: object) -> int:
        """A hash of the key."""
        return seeds.derive(self.path, *key)

    def rng(self, *key: object) -> random.Random:
        """A generator from it."""
        return random.Random(self.seed(*key))

    def value(self, number: Any) -> float:
        """Constants only."""
        return float(number)

    def log(self, name: str, value: float) -> None:
        """Keep it."""
        self.metrics[name] = value

    def progress(self, done: int, total: int, what: str) -> None:
        """Nobody watches."""
