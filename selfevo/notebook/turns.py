"""Turns and samples as DataFrames: the ids and log-probs behind a trajectory, and what optimizers fitted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest
from ..tables import samples_from
from .batches import WHERE, placed, read
from .optional import pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..report.read import Line, RunData

TURN = ("source", "text", "tokens", "logprobs", "context", "version", "temperature", "finish")
COLUMNS = (*WHERE, "trajectory", "turn", *TURN)


def turns(run: RunData, lines: Iterable[Line], columns: Sequence[str] | None) -> pd.DataFrame:
    """A row per turn. See `SavedRun.turns` for the columns."""
    import pyarrow as pa

    for name in columns or ():
        if name not in COLUMNS:
            raise UserError(f"column '{name}': turns have none of that name{nearest(name, COLUMNS, len(COLUMNS))}")
    wanted = [name for name in TURN if columns is None or name in columns]
    pandas()  # what is missing is said before anything is read
    parts = [part for line in lines for part in _turns(run, line, wanted or ["source"])]
    if not parts:
        return pandas().DataFrame(columns=list(COLUMNS if columns is None else columns))
    table = pa.Table.from_batches(parts)
    return table.select(list(COLUMNS if columns is None else columns)).to_pandas()


def _turns(run: RunData, line: Line, wanted: Sequence[str]) -> Iterator[pa.RecordBatch]:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    for batch in read(run.root, line, ["id", *(f"turns.list.element.{name}" for name in wanted)]):
        held = batch.column("turns")
        flat, owner = held.flatten(), pc.list_parent_indices(held)
        at = owner.to_numpy(zero_copy_only=False)
        number = np.arange(len(at)) - np.searchsorted(at, at)  # within its trajectory: owners are in order
        arrays = [batch.column("id").take(owner), pa.array(number), *(flat.field(name) for name in wanted)]
        yield placed(pa.RecordBatch.from_arrays(arrays, ["trajectory", "turn", *wanted]), line)


def samples(run: RunData, lines: Iterable[Line]) -> pd.DataFrame:
    """A row per fitted sample. See `SavedRun.samples` for the columns."""
    rows: list[dict[str, Any]] = []
    for line in lines:
        for batch in read(run.root, line):
            for s in samples_from(batch):
                where = dict(zip(WHERE, (line.path, line.stage, line.iteration), strict=True))
                fixed = {"id": s.id, "unit": s.unit, "place": s.place, "response": s.response}
                contexts = {f"context/{name}": ids for name, ids in s.contexts.items()}
                rows.append({**where, **fixed, **contexts, **{f"column/{name}": value for name, value in s.columns.items()}})
    return pandas().DataFrame(rows, columns=None if rows else [*WHERE, "id", "unit", "place", "response"])
