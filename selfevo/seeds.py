"""Every random draw of a run comes from here: a hash of names, never addition and never global state."""

from __future__ import annotations

import hashlib
import random


def derive(*key: object) -> int:
    """A seed in [0, 2**63) from any names and numbers. Keys are joined unambiguously: ("a", "b") differs from ("ab",)."""
    h = hashlib.sha256()
    for part in key:
        text = str(part).encode()
        h.update(len(text).to_bytes(8, "big") + text)
    return int.from_bytes(h.digest()[:8], "big") >> 1


def rng(*key: object) -> random.Random:
    """A `random.Random` seeded with `derive(*key)`."""
    return random.Random(derive(*key))
