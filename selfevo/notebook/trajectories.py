"""Trajectories as a flat DataFrame: what was asked, what came back, how it was judged."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..errors import UserError, nearest
from ..records import Task, Trajectory
from ..tables.read import values
from .batches import WHERE, read
from .optional import pandas
from .scores import Judged

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..report.read import Line, RunData

PLAIN = ("id", "episode", "role", "policy", "status", "error", "parent", "prefix")
TASK = ("task", "category", "level", "reference", "origin")
REPLY = ("reply", "length")
COST = ("prompt_tokens", "generated_tokens", "discarded_tokens", "calls", "seconds")
SCORE = ("reward", "keep", "answer", "feedback")
MAPS = {"key": "keys", "memory": "memories"}
OPEN = ("var/", "key/", "memory/", "reward/")
"""What columns of open names begin with: prompt variables, group keys, memory versions, rewards by part."""
COLUMNS = (*WHERE, *PLAIN, *TASK, *REPLY, *COST, *SCORE)


def trajectories(run: RunData, lines: Iterable[Line], columns: Sequence[str] | None) -> pd.DataFrame:
    """A row per trajectory of these commits, in order. See `SavedRun.trajectories` for the columns."""
    wanted = _wanted(columns)
    pd = pandas()
    judged = Judged(run) if wanted(*SCORE, "reward/") else None
    parts = [pd.DataFrame(found) for line in lines if (found := _table(run, line, wanted, judged))["path"]]
    if not parts:
        return pd.DataFrame(columns=list(COLUMNS if columns is None else columns))
    frame = pd.concat(parts, ignore_index=True)
    if columns is None:
        fixed = [c for c in COLUMNS if c in frame]
        return frame[[*fixed, *sorted(c for c in frame if c not in COLUMNS)]]
    missing = [c for c in columns if c not in frame]
    if missing:
        raise UserError(f"column '{missing[0]}': these trajectories have none of that name{nearest(missing[0], frame.columns, 30)}")
    return frame[list(columns)]


def _wanted(columns: Sequence[str] | None) -> Callable[..., bool]:
    """Whether any of some columns ("reward/" stands for all that begin so) is asked for. Raises UserError for a name that cannot be."""
    for name in columns or ():
        if name not in COLUMNS and not name.startswith(OPEN):
            valid = [*COLUMNS, *(f"{o}NAME" for o in OPEN)]
            raise UserError(f"column '{name}': trajectories have none of that name{nearest(name, valid, 40)}")
    return lambda *names: columns is None or any(c == n or (n.endswith("/") and c.startswith(n)) for c in columns for n in names)


def _table(run: RunData, line: Line, wanted: Callable[..., bool], judged: Judged | None) -> dict[str, list[Any]]:
    """Columns of one table. Open names that a batch lacks are None there."""
    out: dict[str, list[Any]] = {name: [] for name in (*WHERE, "id")}
    rows = 0
    for batch in read(run.root, line, _needed(wanted)):
        found = dict(_columns(batch, wanted))
        found["id"] = batch.column("id").to_pylist()
        for name, value in zip(WHERE, (line.path, line.stage, line.iteration), strict=True):
            found[name] = [value] * batch.num_rows
        if judged is not None:
            found |= judged.columns(line, batch)
        for name in found.keys() - out.keys():
            out[name] = [None] * rows
        for name, held in out.items():
            held += found.get(name, [None] * batch.num_rows)
        rows += batch.num_rows
    return out


def _needed(wanted: Callable[..., bool]) -> list[str]:
    """Columns of the file that must be read."""
    names = ["id", *(n for n in PLAIN if n != "id" and wanted(n))]
    names += ["task"] if wanted(*TASK, "var/") else []
    names += [f"turns.list.element.{n}" for n in ("source", "text")] if wanted("reply") else []
    names += [f"turns.list.element.{n}" for n in ("source", "tokens")] if wanted("length") else []
    names += [column for name, column in MAPS.items() if wanted(f"{name}/")]
    names += [f"cost.{n}" for n in COST if wanted(n)]
    names += ["score"] if wanted(*SCORE, "reward/") else []
    return list(dict.fromkeys(names))


def _columns(batch: pa.RecordBatch, wanted: Callable[..., bool]) -> Iterator[tuple[str, list[Any]]]:
    there = batch.schema.names
    yield from ((n, batch.column(n).to_pylist()) for n in PLAIN if n in there)
    if "task" in there:
        yield from _tasks(batch.column("task").to_pylist(), wanted)
    if wanted("reply"):
        yield "reply", _replies(batch.column("turns"))
    if wanted("length"):
        yield "length", _lengths(batch.column("turns"))
    for name, column in MAPS.items():
        if column in there:
            yield from _map(name, batch.column(column).to_pylist())
    if "cost" in there:
        yield from ((f.name, batch.column("cost").field(f.name).to_pylist()) for f in batch.column("cost").type)


def _tasks(texts: Sequence[str], wanted: Callable[..., bool]) -> Iterator[tuple[str, list[Any]]]:
    parsed = {text: json.loads(text) for text in set(texts)}
    bodies: list[Mapping[str, Any]] = [parsed[text] for text in texts]
    keys = {"task": "id", "category": "category", "level": "difficulty", "reference": "answer"}
    yield from ((name, [b[key] for b in bodies]) for name, key in keys.items() if wanted(name))
    if wanted("origin"):
        yield "origin", [b["lineage"]["origin"] for b in bodies]
    if wanted("var/"):
        yield from _map("var", [list(b["vars"].items()) for b in bodies])


def _map(prefix: str, rows: Sequence[Sequence[tuple[str, Any]] | None]) -> Iterator[tuple[str, list[Any]]]:
    """A column "<prefix>/<key>" for every key of some rows."""
    held = [dict(row or ()) for row in rows]
    for key in dict.fromkeys(k for row in held for k in row):
        yield f"{prefix}/{key}", [row.get(key) for row in held]


def _replies(turns: pa.ListArray) -> list[str]:
    """`Trajectory.text` of each row."""
    import pyarrow as pa

    flat = turns.values
    slim = pa.StructArray.from_arrays([flat.field("source"), flat.field("text")], ["source", "text"])
    slim = pa.ListArray.from_arrays(turns.offsets, slim)
    nothing = _nothing()
    return [Trajectory("", nothing, "", "", found or (), "").text for found in values(slim)]


@cache
def _nothing() -> Task:
    return Task({}, id="-")


def _lengths(turns: pa.ListArray) -> list[int]:
    """`Trajectory.length` of each row."""
    import numpy as np
    import pyarrow.compute as pc

    flat = turns.flatten()
    sizes = pc.list_value_length(flat.field("tokens")).fill_null(0).to_numpy(zero_copy_only=False)
    by_policy = pc.equal(flat.field("source"), "policy").to_numpy(zero_copy_only=False)
    owner = pc.list_parent_indices(turns).to_numpy(zero_copy_only=False)
    return [int(n) for n in np.bincount(owner, sizes * by_policy, len(turns))]
