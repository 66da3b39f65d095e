"""Arrow back to records, column by column; the inverse of `build`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

from ..records import Cost, Row, Sample, Score, Step, Task, Trajectory, Turn
from .plain import coded, plain
from .tasks import task_from_json

if TYPE_CHECKING:
    import pyarrow as pa

R = TypeVar("R")

Tasks = dict[str, Task]
"""Tasks by their JSON text: rows of one task share one object."""


def rows_from(table: pa.Table | pa.RecordBatch, tasks: Tasks | None = None) -> list[Row]:
    """Rows of a "rows" table, equal to what was written. `tasks` are those known from tables read before; new ones are added."""
    tasks = {} if tasks is None else tasks
    out: list[Row] = []
    for batch in _parts(table):
        trajectories = _trajectories(batch, tasks)
        scores = values(batch.column("score"))
        steps = values(batch.column("step_scores"))
        for t, score, judged in zip(trajectories, scores, steps, strict=True):
            out.append(Row(t, Score(t.id) if score is None else score, judged or ()))
    return out


def trajectories_from(table: pa.Table | pa.RecordBatch, tasks: Tasks | None = None) -> list[Trajectory]:
    """Trajectories of a "rows" table, its scores left out."""
    tasks = {} if tasks is None else tasks
    return [t for batch in _parts(table) for t in _trajectories(batch, tasks)]


def scored_from(table: pa.Table | pa.RecordBatch, trajectories: Mapping[str, Trajectory]) -> list[Row]:
    """Rows of a "scores" table joined with the trajectories they judge."""
    out: list[Row] = []
    for batch in _parts(table):
        ids, scores, steps = (values(batch.column(name)) for name in ("trajectory", "score", "step_scores"))
        out += [Row(trajectories[i], score, judged) for i, score, judged in zip(ids, scores, steps, strict=True)]
    return out


def samples_from(table: pa.Table | pa.RecordBatch) -> list[Sample]:
    """Samples of a "samples" table (numbers come before arrays among their columns)."""
    names = ("id", "response", "contexts", "numbers", "arrays", "keys", "steps", "unit", "place", "row")
    out: list[Sample] = []
    for batch in _parts(table):
        for i, response, contexts, numbers, arrays, *rest in zip(*(values(batch.column(n)) for n in names), strict=True):
            out.append(Sample(i, response, contexts, {**numbers, **arrays}, *rest))
    return out


def recalling(read: Callable[[pa.RecordBatch, Tasks], list[R]], parts: Iterable[pa.RecordBatch]) -> Iterator[list[R]]:
    """What `read` makes of each part of a table, with the tasks of the part before: a task that a boundary cuts stays one object.

    Holds neither a part nor what was made of it while the next is read.
    """
    tasks: Tasks = {}
    for batch in parts:
        before, tasks = tasks, {}
        for text in set(words(batch.column("task"))):
            tasks[text] = before[text] if text in before else task_from_json(text)
        made = [read(batch, tasks)]
        del batch
        yield made.pop()


def _trajectories(batch: pa.RecordBatch, tasks: Tasks) -> list[Trajectory]:
    names = ("role", "policy", "turns", "episode", "keys", "memories", "parent", "prefix", "steps", "status", "error", "cost")
    texts = words(batch.column("task"))
    for text in set(texts) - tasks.keys():
        tasks[text] = task_from_json(text)
    columns = [values(batch.column("id")), [tasks[text] for text in texts], *(values(batch.column(n)) for n in names)]
    return [Trajectory(*fields) for fields in zip(*columns, strict=True)]


def _parts(table: pa.Table | pa.RecordBatch) -> Sequence[pa.RecordBatch]:
    return table.to_batches() if hasattr(table, "to_batches") else [table]


def values(array: pa.Array) -> list[Any]:
    """Python values of an array, records among them; lists are tuples, maps are dicts, null is None."""
    import pyarrow as pa

    kind = array.type
    if pa.types.is_map(kind):
        keys, items = _within(array, array.keys, words), _within(array, array.items, values)
        return _masked(array, [dict(zip(k, v, strict=True)) for k, v in zip(keys, items, strict=True)])
    if pa.types.is_list(kind):
        return _masked(array, _within(array, array.values, values))
    if pa.types.is_struct(kind):
        if array.null_count == len(array):
            return [None] * len(array)
        make = _RECORDS[kind.field(0).name]
        parts = [values(array.field(i)) for i in range(kind.num_fields)]
        if array.null_count == 0:
            return [make(*fields) for fields in zip(*parts, strict=True)]
        present = array.is_valid().to_pylist()
        return [make(*fields) if there else None for there, *fields in zip(present, *parts, strict=True)]
    if pa.types.is_string(kind):
        return words(array)
    return plain(array).tolist() if array.null_count == 0 else array.to_pylist()


_RECORDS: dict[str, Callable[..., Any]] = {"source": Turn, "start": Step, "prompt_tokens": Cost, "subject": Score}
"""The record a struct stands for, by the name of its first field."""


def words(array: pa.Array) -> list[Any]:
    """Strings of an array, one object for equal ones."""
    known, at = coded(array)
    with_null = [*known, None]
    return [with_null[i] for i in at.tolist()]


def _within(array: pa.Array, inner: pa.Array, read: Callable[[pa.Array], list[Any]]) -> list[tuple[Any, ...]]:
    """The tuple of inner values of each list. Equal neighbours that hold ids (the prompt of a group) are one object."""
    import pyarrow as pa

    offsets = plain(array.offsets).tolist()
    first, last = offsets[0], offsets[-1]
    flat = read(inner.slice(first, last - first))
    out = [tuple(flat[start - first : end - first]) for start, end in pairwise(offsets)]
    if pa.types.is_integer(inner.type):  # floats that are equal need not be the same: 0.0 and -0.0
        for i in range(1, len(out)):
            if out[i] == out[i - 1]:
                out[i] = out[i - 1]
    return out


def _masked(array: pa.Array, found: list[Any]) -> list[Any]:
    """The values with None where the array is null."""
    if array.null_count == 0:
        return found
    return [x if there else None for x, there in zip(found, array.is_valid().to_pylist(), strict=True)]
