"""Records as Arrow tables: one Parquet file per stage, readable by any Parquet tool.

A rollout writes its trajectories (`score` null), an evaluation trajectories with scores, a score stage only scores with the path of
the table whose trajectories they judge (`source`): text is stored once. A train stage writes the samples it fitted.

Tables are made and read by batches of a few thousand records, so a stage of any size takes the memory of a few batches.
"""

from .arrays import array
from .build import rows_table, samples_table, scores_table
from .join import Finder, join
from .parquet import batches, scan, size, write
from .plain import coded, plain, scalar
from .read import recalling, rows_from, samples_from, scored_from, trajectories_from
from .schema import schemas
from .tasks import task_from_json, task_to_json

__all__ = [
    "Finder",
    "array",
    "batches",
    "coded",
    "join",
    "plain",
    "recalling",
    "rows_from",
    "rows_table",
    "samples_from",
    "samples_table",
    "scalar",
    "scan",
    "schemas",
    "scored_from",
    "scores_table",
    "size",
    "task_from_json",
    "task_to_json",
    "trajectories_from",
    "write",
]
