"""Parquet files written and read as a stream: memory is that of a few batches, however long the table.

Encodings were chosen by measurement (`docs/decisions.md`). Numbers per token are split into byte streams: log-probs are float32 values
in float64 columns, so three of the eight streams are zeros and cost nothing, and every value still comes back exactly as it was. What
repeats (names, versions, rewards, the task of a group) goes through a dictionary; ids and texts are plain, where zstd finds the
prompt that a group shares. Statistics are kept for the plain columns of a row alone: those of texts would repeat the texts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from ..records import Row, Sample, Turn

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")

ROWS = 2048
"""Most records of a batch."""
UNITS = 1 << 19
"""Most ids and characters of a batch (see `size`): long replies make shorter ones."""
GROUP = 8
"""Batches of a row group: each group adds some kilobytes to the end of the file, which stay in memory until it is closed."""
BYTES = 1 << 21
"""Most bytes, as Parquet counts them before compression, that are read at once."""
BUFFER = 1 << 16
"""Bytes of each column that are read ahead: otherwise a row group is read whole before its first row comes out."""
LEVEL = 6
"""Of zstd."""


def batches(records: Iterable[T], rows: int = ROWS, units: int = UNITS) -> Iterator[list[T]]:
    """The records in order, in lists of at most `rows` of them and, unless it is a single one, `units` by `size`; [[]] for none.

    Reads no further than the record after the batch it gives out. Where a batch ends is a function of the records alone.
    """
    held: list[T] = []
    sum_, given = 0, False
    for record in records:
        n = size(record)
        if held and (len(held) == rows or sum_ + n > units):
            yield held
            held, sum_, given = [], 0, True
        held.append(record)
        sum_ += n
    if held or not given:
        yield held


def size(record: Any) -> int:
    """About how many numbers and characters a row, sample or anything else (1) puts into a table."""
    if isinstance(record, Row):
        return sum(map(_turn_size, record.trajectory.turns)) + 64
    if isinstance(record, Sample):
        contexts = sum(map(len, record.contexts.values()))
        return len(record.response) * (1 + len(record.columns)) + contexts + 64
    return 1


def _turn_size(turn: Turn) -> int:
    return len(turn.text) + len(turn.tokens) * (1 if turn.logprobs is None else 2) + len(turn.context)


def write(file: IO[bytes] | Path, tables: Iterable[pa.Table]) -> None:
    """Write tables of one schema to one Parquet file, `GROUP` of them to a row group. Equal tables give equal bytes.

    Raises ValueError for no table at all.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    stream = iter(tables)
    held = list(islice(stream, GROUP))
    if not held:
        raise ValueError("a Parquet file needs at least one table, if only an empty one, for its schema")
    schema = held[0].schema
    with pq.ParquetWriter(file, schema, compression="zstd", compression_level=LEVEL, **_encodings(schema)) as writer:
        while held:
            rows = sum(table.num_rows for table in held)
            writer.write_table(pa.concat_tables(held), row_group_size=max(1, rows))
            held.clear()  # before the next ones are made
            held += islice(stream, GROUP)


def scan(file: Path, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
    """The rows of a Parquet file in order, `columns` of them (default: all), in parts of at most `ROWS` rows and about `BYTES`.

    What decoding has freed goes back to the system with every part. Arrow's allocator keeps it for a while otherwise, and the longer
    the table, the more of it there is at the worst moment.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    pool = pa.default_memory_pool()
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=BUFFER) as parquet:
        for number in range(parquet.num_row_groups):  # one at a time: asked for all, Arrow may read ahead without bound
            group = parquet.metadata.row_group(number)
            rows = max(1, min(ROWS, group.num_rows * BYTES // max(1, group.total_byte_size)))
            for batch in parquet.iter_batches(rows, [number], columns=columns, use_threads=False):
                pool.release_unused()
                yield batch
                del batch  # before the next is decoded
            pool.release_unused()  # what the reader of the group held


VARIED = ("id", "episode", "text", "feedback", "subject", "trajectory")
"""Texts that seldom repeat as a whole."""


def _encodings(schema: pa.Schema) -> dict[str, Any]:
    """Options of the Parquet writer for the leaves of a schema."""
    import pyarrow as pa

    chosen = {path: _encoding(path, kind) for f in schema for path, kind in _leaves(f.name, f.type)}
    return {
        "use_dictionary": [path for path, encoding in chosen.items() if not encoding],
        "column_encoding": {path: encoding for path, encoding in chosen.items() if encoding},
        "write_statistics": [f.name for f in schema if not pa.types.is_nested(f.type) and f.name not in ("task", "error")],
    }


def _encoding(path: str, kind: pa.DataType) -> str:
    """The encoding of a leaf; "" for a dictionary."""
    import pyarrow as pa

    listed = path.endswith(".list.element")
    if pa.types.is_floating(kind) and listed:
        return "BYTE_STREAM_SPLIT"
    if (pa.types.is_integer(kind) and listed) or path.rpartition(".")[2] in VARIED or path == "keys.key_value.value":
        return "PLAIN"
    return ""


def _leaves(path: str, kind: pa.DataType) -> Iterator[tuple[str, pa.DataType]]:
    """(path as Parquet writes it, type) of every leaf under a column."""
    import pyarrow as pa

    if pa.types.is_map(kind):
        yield from _leaves(f"{path}.key_value.key", kind.key_type)
        yield from _leaves(f"{path}.key_value.value", kind.item_type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    elif pa.types.is_struct(kind):
        for field in kind:
            yield from _leaves(f"{path}.{field.name}", field.type)
    else:
        yield path, kind
