"""Records to Arrow, column by column: each field of all records becomes one flat list and one array, whatever it is nested in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, chain
from typing import TYPE_CHECKING, Any

from ..records import Cost, Row, Sample, Score, Step, Turn
from .schema import schemas
from .tasks import task_to_json

if TYPE_CHECKING:
    import pyarrow as pa


def rows_table(rows: Sequence[Row], judged: bool) -> pa.Table:
    """Table "rows": trajectories, with their scores when `judged`."""
    import pyarrow as pa

    schema = schemas()["rows"]
    some = [row.trajectory for row in rows]
    tasks: dict[int, str] = {}  # a group shares its task object: serialise it once
    for t in some:
        if id(t.task) not in tasks:
            tasks[id(t.task)] = task_to_json(t.task)
    columns: dict[str, Iterable[Any]] = {
        "task": [tasks[id(t.task)] for t in some],
        "turns": [t.turns for t in some],
        "steps": [t.steps for t in some],
        "cost": [t.cost for t in some],
        "score": [row.score if judged else None for row in rows],
        "step_scores": [row.steps if judged else None for row in rows],
    }
    for name in ("id", "role", "policy", "episode", "keys", "memories", "parent", "prefix", "status", "error"):
        columns[name] = [getattr(t, name) for t in some]
    return pa.Table.from_arrays([array(columns[f.name], f.type) for f in schema], schema=schema)


def scores_table(rows: Sequence[Row], sources: Mapping[str, str]) -> pa.Table:
    """Table "scores"; `sources` maps a trajectory's id to the table that holds it ("main.3/rollout")."""
    import pyarrow as pa

    ids = [row.trajectory.id for row in rows]
    columns: tuple[list[Any], ...] = ([sources[i] for i in ids], ids, [row.score for row in rows], [row.steps for row in rows])
    schema = schemas()["scores"]
    return pa.Table.from_arrays([array(values, f.type) for values, f in zip(columns, schema, strict=True)], schema=schema)


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Table "samples"."""
    import pyarrow as pa

    schema = schemas()["samples"]
    columns: dict[str, list[Any]] = {
        "numbers": [{k: v for k, v in s.columns.items() if not isinstance(v, tuple)} for s in samples],
        "arrays": [{k: v for k, v in s.columns.items() if isinstance(v, tuple)} for s in samples],
    }
    for name in ("id", "response", "contexts", "keys", "steps", "unit", "place", "row"):
        columns[name] = [getattr(s, name) for s in samples]
    return pa.Table.from_arrays([array(columns[f.name], f.type) for f in schema], schema=schema)


def array(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    """An Arrow array of a nested type. Mappings become maps; turns, steps, costs and scores become structs; None becomes null."""
    import pyarrow as pa

    some = values if isinstance(values, list) else list(values)
    if pa.types.is_map(kind):
        held = [x or {} for x in some]
        keys = array([k for x in held for k in x], kind.key_type)
        items = array([v for x in held for v in x.values()], kind.item_type)
        return pa.MapArray.from_arrays(_offsets(held), keys, items, kind, mask=_nulls(some))
    if pa.types.is_list(kind):
        held = [x or () for x in some]
        inner = array(list(chain.from_iterable(held)), kind.value_type)
        return pa.ListArray.from_arrays(_offsets(held), inner, kind, mask=_nulls(some))
    if pa.types.is_struct(kind):
        mask = _nulls(some)
        held = some if mask is None else [_EMPTY[kind.field(0).name] if x is None else x for x in some]
        parts = [array([getattr(x, f.name) for x in held], f.type) for f in kind]
        return pa.StructArray.from_arrays(parts, fields=list(kind), mask=mask)
    return pa.array(some, kind)


_EMPTY: dict[str, Turn | Step | Cost | Score] = {"subject": Score("")}
"""What stands in the fields of a null struct, by the name of its first field."""


def _offsets(held: Sequence[Any]) -> pa.Array:
    import pyarrow as pa

    return pa.array(list(accumulate(map(len, held), initial=0)), pa.int32())


def _nulls(values: Sequence[Any]) -> pa.Array | None:
    """A mask that is true where a value is None; None where none is."""
    import pyarrow as pa

    return pa.array([x is None for x in values], pa.bool_()) if any(x is None for x in values) else None
