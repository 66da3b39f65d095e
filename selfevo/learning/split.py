"""Which samples make one optimizer step, and which of those go through the model together."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ..errors import UserError, nearest
from ..records import Sample


def units_of(samples: Sequence[Sample], indices: Sequence[int]) -> list[list[int]]:
    """Indices collected by `Sample.unit` (a sample without one is its own), members ordered by `place`, units by appearance."""
    units: dict[str, list[int]] = {}
    alone: list[tuple[int, list[int]]] = []
    order: dict[str, int] = {}
    for at, i in enumerate(indices):
        name = samples[i].unit
        if name:
            units.setdefault(name, []).append(i)
            order.setdefault(name, at)
        else:
            alone.append((at, [i]))
    named = [(order[n], sorted(m, key=lambda i: samples[i].place)) for n, m in units.items()]
    return [members for _, members in sorted(alone + named)]


def mini_batches(samples: Sequence[Sample], size: int | None, rng: random.Random | None) -> list[list[int]]:
    """Sample indices of each optimizer step: whole units, at most `size` rows each unless one unit alone is larger.

    `rng` shuffles the units; None keeps their order. `size` None: one step with everything.
    """
    units = units_of(samples, range(len(samples)))
    if size is None:
        return [[i for u in units for i in u]]
    if rng is not None:
        rng.shuffle(units)
    batches: list[list[int]] = [[]]
    for unit in units:
        if batches[-1] and len(batches[-1]) + len(unit) > size:
            batches.append([])
        batches[-1] += unit
    return batches


def micro_batches(samples: Sequence[Sample], indices: Sequence[int], budget: int, context: str = "train") -> list[list[int]]:
    """Parts of `indices` whose padded size, rows x longest row, is at most `budget` tokens.

    Longest units first, so that rows of like length share padding and a batch that does not fit fails at once. A unit that alone
    exceeds the budget makes its own micro-batch.
    """

    def length(unit: list[int]) -> int:
        for i in unit:
            if context not in samples[i].contexts:
                raise UserError(f"sample {samples[i].id} has no context '{context}'{nearest(context, samples[i].contexts)}")
        return max(len(samples[i].contexts[context]) + len(samples[i].response) for i in unit)

    units = units_of(samples, indices)
    units.sort(key=lambda u: -length(u))  # stable: equal lengths keep their order
    parts: list[list[int]] = []
    longest = 0
    for unit in units:
        if parts and (len(parts[-1]) + len(unit)) * longest <= budget:
            parts[-1] += unit
        else:
            parts.append(list(unit))
            longest = length(unit)
    return parts
