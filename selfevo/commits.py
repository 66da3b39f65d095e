"""What a stage's commit writes, and how it is read back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import IO, TYPE_CHECKING, Any

from .context import StageCtx
from .memories import files as memory
from .protocols import Stateful
from .records import Row, Trajectory, Version
from .references import TableRef
from .stages import Outcome, Stage
from .store import RunDir
from .tables import batches, join, recalling, rows_from, rows_table, samples_table, schemas, scores_table, trajectories_from
from .versions import to_line
from .world import World

if TYPE_CHECKING:
    import pyarrow as pa


def table_name(path: str, stage: str) -> str:
    """Where a stage's table is: "tables/main.3/rollout.parquet"."""
    return f"tables/{path}/{stage}.parquet"


def commit_stage(
    store: RunDir, world: World, stages: Mapping[str, Stage], ctx: StageCtx, outcome: Outcome, line: Mapping[str, Any],
    tell: Callable[[Mapping[str, Any]], Any],
) -> Mapping[str, Any]:  # fmt: skip
    """Write a stage's table, texts and small state, then its metrics and manifest lines, while the run goes on (`RunDir.behind`): what
    later stages change is taken here and now. `tell` hears of the metrics line once it is on disk. Returns it."""
    entry: dict[str, Any] = {"path": ctx.path, "stage": ctx.stage, "kind": line["kind"], "table": outcome.table}
    texts = {f"memories/{v.name}/{v.id}": world.memories[v.name].at(v.id) for v in outcome.versions if v.kind == "text"}
    states = {name: json.dumps(part) for name in outcome.touched if (part := small_state(world, stages, name)) is not None}

    def write() -> Mapping[str, Any]:
        outputs: dict[str, str] = {}
        if outcome.table:
            name = table_name(ctx.path, ctx.stage)
            outputs[name] = store.write_table(name, parts(outcome))
        for folder, files in texts.items():
            outputs |= store.write_folder(folder, partial(memory.write, files))
        for name, text in states.items():
            file = f"state/{ctx.path}/{ctx.stage}/{name}.json"
            outputs[file] = store.write(file, _bytes(text))
        made = {
            "outputs": outputs,
            "versions": to_line(outcome.versions),
            "promotions": {k: dict(v) for k, v in outcome.promotions.items()},
            "seconds": line["seconds"],
            "tokens": outcome.tokens,
        }
        committed = store.commit(entry | made, line) or line
        tell(committed)
        return committed

    return store.behind(ctx.path, ctx.stage, write) or line


def parts(outcome: Outcome) -> Iterator[pa.Table]:
    """A stage's table, batch by batch."""
    if outcome.table == "samples":
        yield from map(samples_table, batches(outcome.samples))
        return
    for rows in batches(outcome.rows):
        if outcome.table == "rows":
            yield rows_table(rows, outcome.judged)
        else:
            yield scores_table(rows, {row.trajectory.id: source_of(row) for row in rows})


def _bytes(text: str) -> Callable[[IO[bytes]], Any]:
    return lambda file: file.write(text.encode())


def source_of(row: Row) -> str:
    """The table that holds a row's trajectory: ids are "<path>/<stage>/<episode>.<n>"."""
    return row.trajectory.id.rpartition("/")[0]


def small_state(world: World, stages: Mapping[str, Stage], name: str) -> dict[str, Any] | None:
    """State of a touched part that is saved with every commit: curricula and text optimizers (None for what has none).

    Optimizers of weights are large and recomputable: they are saved at checkpoints.
    """
    if name.endswith(".optimizer"):
        stage: Any = stages[name.removesuffix(".optimizer")]
        part = stage.optimizer if stage.policy is None else None
    else:
        part = world.sources[name]
    return part.state_dict() if isinstance(part, Stateful) else None


def load_small_state(world: World, stages: Mapping[str, Stage], name: str, state: dict[str, Any]) -> None:
    """Give a touched part its saved state back."""
    part: Any = stages[name.removesuffix(".optimizer")].optimizer if name.endswith(".optimizer") else world.sources[name]  # type: ignore[attr-defined]
    part.load_state_dict(state)


def read_rows(store: RunDir, path: str, stage: str) -> list[Row]:
    """The rows of a committed execution, as the stage returned them."""
    return [row for rows in scan_rows(store, path, stage) for row in rows]


def scan_rows(store: RunDir, path: str, stage: str) -> Iterator[list[Row]]:
    """The same in batches, in memory for a few of them. Raises StoreError for a file that is missing or altered, before any row."""
    entry = store.entry(path, stage)
    assert entry is not None, f"{path}/{stage} is not committed"
    if entry["table"] not in ("rows", "scores"):
        return iter(())
    scanned = store.scan_table(table_name(path, stage))
    if entry["table"] == "scores":
        return join(scanned, partial(_trajectories, store))
    return recalling(rows_from, scanned)


def _trajectories(store: RunDir, source: str) -> Iterator[list[Trajectory]]:
    """Trajectories of a committed table ("main.3/rollout"), whatever scores stand beside them."""
    path, _, stage = source.rpartition("/")
    columns = [name for name in schemas()["rows"].names if name not in ("score", "step_scores")]
    return recalling(trajectories_from, store.scan_table(table_name(path, stage), columns))


def restore_text(store: RunDir, world: World, version: Version) -> None:
    """Put a committed text version back into its memory; weights are restored by checkpoints."""
    if version.kind != "text":
        return
    folder = store.root / "memories" / version.name / version.id
    for file in memory.read(folder):
        store.verify(f"memories/{version.name}/{version.id}/{file}")
    made = world.memories[version.name].add(memory.read(folder), version.parents, version.made_by, version.info)
    assert made == replace(version), f"{version.ref} came back as {made.ref}"


__all__ = [
    "TableRef",
    "commit_stage",
    "load_small_state",
    "parts",
    "read_rows",
    "restore_text",
    "scan_rows",
    "small_state",
    "source_of",
    "table_name",
]
