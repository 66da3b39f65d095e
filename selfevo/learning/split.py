"""Which samples make one optimizer step, and which of those go through the model together."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

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


def micro_batches(
    samples: Sequence[Sample], indices: Sequence[int], budget: int, context: str = "train", shared: bool = False
) -> list[list[int]]:
    """Parts of `indices` of at most `budget` tokens: rows x longest row or, `shared`, distinct contexts and responses.

    Longest units first, so that rows of like length share padding and a batch that does not fit fails at once; `shared`: units of one
    context follow each other. A unit that alone exceeds the budget makes its own micro-batch.
    """
    for i in indices:
        if context not in samples[i].contexts:
            raise UserError(f"sample {samples[i].id} has no context '{context}'{nearest(context, samples[i].contexts)}")

    def length(unit: list[int]) -> int:
        return max(len(samples[i].contexts[context]) + len(samples[i].response) for i in unit)

    units = units_of(samples, indices)
    units.sort(key=lambda u: -length(u))  # stable: equal lengths keep their order
    return _sharing(samples, units, budget, context) if shared else _padding(units, budget, length)


def _padding(units: Sequence[list[int]], budget: int, length: Callable[[list[int]], int]) -> list[list[int]]:
    parts: list[list[int]] = []
    longest = 0
    for unit in units:
        if parts and (len(parts[-1]) + len(unit)) * longest <= budget:
            parts[-1] += unit
        else:
            parts.append(list(unit))
            longest = length(unit)
    return parts


def _sharing(samples: Sequence[Sample], units: Sequence[list[int]], budget: int, context: str) -> list[list[int]]:
    groups: dict[tuple[int, ...], list[list[int]]] = {}
    for unit in units:
        groups.setdefault(samples[unit[0]].contexts[context], []).append(unit)
    parts: list[list[int]] = []
    held: set[tuple[int, ...]] = set()
    tokens = 0
    for unit in (u for group in groups.values() for u in group):
        own = sum(len(samples[i].response) - 1 for i in unit)
        new = {samples[i].contexts[context] for i in unit}
        more = own + sum(map(len, new - held))
        if not parts or tokens + more > budget:
            parts.append([])
            held, tokens, more = set(), 0, own + sum(map(len, new))
        parts[-1] += unit
        held |= new
        tokens += more
    return parts
