"""The Parquet tables of a run as a stream of Arrow batches, each row with where it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import StoreError, UserError, nearest
from ..tables import scan, schemas

if TYPE_CHECKING:
    import pyarrow as pa

    from ..report.read import Line

WHERE = ("path", "stage", "iteration")
"""Columns that are put before those of the files: where in the loop a row was committed."""


def file_of(root: Path, line: Line) -> Path:
    """The file of a committed table."""
    return root / f"tables/{line.path}/{line.stage}.parquet"


def batches(root: Path, lines: Iterable[Line], columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of the tables of these commits, in order; memory is that of a few of them.

    `columns`: names of the files' columns, nested ones as Parquet writes them ("turns.list.element.text"); default all. Raises
    UserError for a column that there is not, StoreError for a file that is missing or cannot be read.
    """
    for line in lines:
        if columns is not None:
            known = schemas()[line.entry["table"]].names
            for name in columns:
                if name.partition(".")[0] not in known:
                    raise UserError(f"column '{name}': tables of stage '{line.stage}' have none of that name{nearest(name, known, 20)}")
        for batch in read(root, line, columns):
            yield placed(batch, line)


def read(root: Path, line: Line, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of one committed table as the file has them."""
    file = file_of(root, line)
    if not file.is_file():
        raise StoreError(f"{file}: the file is missing, though its stage was committed")
    try:
        yield from scan(file, columns)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError
        raise StoreError(f"{file}: cannot be read ({' '.join(str(error).split())})") from error


def placed(batch: pa.RecordBatch, line: Line) -> pa.RecordBatch:
    """The batch with `WHERE` in front."""
    import pyarrow as pa

    n = batch.num_rows
    front = [pa.array([line.path] * n, pa.string()), pa.array([line.stage] * n, pa.string()), pa.array([line.iteration] * n, pa.int64())]
    return pa.RecordBatch.from_arrays([*front, *batch.columns], [*WHERE, *batch.schema.names])


def together(parts: Iterable[pa.RecordBatch], kind: str) -> pa.Table:
    """One table of all batches; of none, an empty one with the columns of that kind of table."""
    import pyarrow as pa

    held = list(parts)
    if held:
        return pa.Table.from_batches(held)
    front = [(WHERE[0], pa.string()), (WHERE[1], pa.string()), (WHERE[2], pa.int64())]
    return pa.schema([*(pa.field(n, t) for n, t in front), *schemas()[kind]]).empty_table()
