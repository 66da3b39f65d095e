"""Which trajectories go into the page: all of a small run, an even choice of a large one, within a budget of bytes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..tables import array, scan
from .details import Details
from .entries import Entries, Part, index
from .read import RunData

LISTED = 150_000
"""Trajectories that the page lists, a dozen bytes each; of a longer run every k-th."""
BYTES = 2_000_000
"""Bytes of details in the page."""
TABLES = 48
"""Tables of one page that are read in full; of more, an even choice with the first and the last of each stage."""


@dataclass
class Browsed:
    """What the browser is given; `missing`: (table, why it cannot be read)."""

    index: dict[str, Any]
    details: dict[int, dict[str, Any]] = field(default_factory=dict)
    missing: list[tuple[str, str]] = field(default_factory=list)


def browsed(run: RunData, entries: Entries, limit: int = BYTES, listed: int = LISTED) -> Browsed:
    """An index of the run's trajectories and as many details as `limit` bytes hold."""
    step = -(-entries.total // listed) if entries.total > listed else 1
    rows = [range(0, p.rows, step) for p in entries.parts]
    out = Browsed(index(entries, [(n, None if step == 1 else r) for n, r in enumerate(rows)]),
                  missing=[(p.file, p.trouble) for p in entries.parts if p.trouble])
    starts, at = {}, 0
    for n, r in enumerate(rows):
        starts[n] = at
        at += len(r)
    reader, numbers = Details(run), tables([p for p in entries.parts if p.rows])
    left, remaining = limit, len(numbers)
    for part in numbers:
        n = entries.parts.index(part)
        share, spent = left / max(1, remaining), 0
        ids = order(part, step, max(16, int(share) // 700))
        try:
            found = reader.read(part.line, _with_parents(run, part, ids, step))
        except (OSError, ValueError) as error:
            out.missing.append((part.file, " ".join(str(error).split())))
            continue
        for row in [*ids, *(r for r in found if r not in set(ids))]:
            if row not in found:
                continue
            size = len(json.dumps(found[row], ensure_ascii=False).encode("utf-8", "replace"))
            if spent and spent + size > share:
                continue
            out.details[starts[n] + row // step] = found[row]
            spent += size
        left, remaining = left - spent, remaining - 1
    return out


def tables(parts: Sequence[Part]) -> list[Part]:
    """At most about TABLES of these, evenly over each stage, its first and last among them."""
    if len(parts) <= TABLES:
        return list(parts)
    stages: dict[str, list[Part]] = {}
    for part in parts:
        stages.setdefault(part.line.stage, []).append(part)
    each = max(2, TABLES // len(stages))
    kept = set()
    for mine in stages.values():
        kept |= {id(p) for p in (mine if len(mine) <= each else [mine[round(i * (len(mine) - 1) / (each - 1))] for i in range(each)])}
    return [p for p in parts if id(p) in kept]


def order(part: Part, step: int, most: int) -> list[int]:
    """Rows of a table, the most telling first: an even choice over the rewards (ends first), what went wrong among them."""
    import numpy as np

    listed = np.arange(0, part.rows, step)
    reward, status = part.columns["reward"][listed], part.columns["status"][listed]
    by_reward = listed[np.lexsort((listed, np.nan_to_num(reward, nan=np.inf), status))]
    n = len(by_reward)
    out: list[int] = []
    seen: set[int] = set()
    width = n - 1
    while len(out) < min(n, most):  # halve the gaps: 0, n-1, the middle, the quarters, ...
        for i in range(0, n, max(1, width)):
            if i not in seen and len(out) < most:
                seen.add(i)
                out.append(int(by_reward[i]))
        if width <= 1:
            break
        width //= 2
    return out


def _with_parents(run: RunData, part: Part, rows: Sequence[int], step: int) -> set[int]:
    """These rows and, within the same table, those they branched from."""
    import pyarrow as pa
    import pyarrow.compute as pc

    batches = list(scan(run.root / part.file, ["id", "parent"]))
    parents = pa.concat_arrays([b.column("parent") for b in batches]) if batches else array([], pa.string())
    if parents.null_count == len(parents):
        return set(rows)
    above = pc.index_in(parents, pa.concat_arrays([b.column("id") for b in batches])).to_pylist()
    out = set(rows)
    for row in rows:
        parent = above[row]
        while parent is not None and parent not in out:
            if parent % step == 0:
                out.add(parent)
            parent = above[parent]
    return out
