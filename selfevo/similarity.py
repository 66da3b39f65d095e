"""How alike two texts are, without a model: cosine of their counts of character n-grams."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping


def ngrams(text: str, n: int) -> dict[str, float]:
    """Counts of the n-grams of a text, as a vector of length 1; a text shorter than n is its own n-gram."""
    counts = Counter(text[i : i + n] for i in range(max(1, len(text) - n + 1)))
    norm = math.sqrt(sum(c * c for c in counts.values()))
    return {gram: c / norm for gram, c in counts.items()}


def cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Inner product of two vectors of length 1: 1 for equal ones, 0 where they share no n-gram."""
    small, large = sorted((one, other), key=len)
    return min(1.0, math.fsum(value * large[gram] for gram, value in small.items() if gram in large))


def alike(one: str, other: str, n: int = 3) -> float:
    """Cosine of two texts' n-grams, case and outer white space left aside."""
    return cosine(*(ngrams(text.strip().casefold(), n) for text in (one, other)))
