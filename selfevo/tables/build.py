"""Records to Arrow tables of the schemas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..records import Row, Sample
from .arrays import array
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
