"""What the latest failures of a run said: the message of one trajectory for each kind of failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..report.read import Line
from ..report.summary import failures
from ..tables import scan

MOST = 12
"""Kinds of failures whose tables are read."""
SHOWN = 600
"""Characters of a message."""


def latest(root: Path, lines: Sequence[Line], allows: Callable[[Path], bool]) -> list[dict[str, Any]]:
    """Of each kind (stage, part, what; the most recent ones first): `trajectory`, the first in the table where it happened last, and
    `message`; both "" where no table tells."""
    order = {(line.path, line.stage): n for n, line in enumerate(lines)}
    found = sorted(failures(lines), key=lambda f: -order.get((f.last, f.stage), -1))
    out = []
    for n, f in enumerate(found):
        trajectory, message = "", ""
        file = root / f"tables/{f.last}/{f.stage}.parquet"
        if n < MOST and allows(file) and file.is_file():
            trajectory, message = _first(file, f.part, f.what)
        out.append({"stage": f.stage, "part": f.part, "what": f.what, "count": f.count, "last": f.last, "trajectory": trajectory,
                    "message": message if len(message) <= SHOWN else message[:SHOWN] + " […]"})  # fmt: skip
    return out


def _first(file: Path, part: str, what: str) -> tuple[str, str]:
    try:
        for name, row in _rows(file):
            message = _said(row, part, what)
            if message is not None:
                return name, message
    except (OSError, ValueError, KeyError):
        pass  # a table that is gone or torn tells nothing; the count stands
    return "", ""


def _rows(file: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """(trajectory, row) of a table of trajectories or of scores; only columns about failures."""
    import pyarrow.parquet as pq

    names = pq.ParquetFile(file).schema_arrow.names
    key = "id" if "status" in names else "trajectory"
    columns = [key, "score.statuses", "score.errors", *(["status", "error"] if key == "id" else [])]
    for batch in scan(file, columns):
        for row in batch.to_pylist():
            yield row[key], row


def _said(row: Mapping[str, Any], part: str, what: str) -> str | None:
    """What a row says of such a failure, "" where it had it without a word, None where it had none."""
    if part == "episode":
        return (row.get("error") or "") if row.get("status") == what else None
    score = row["score"]
    if score is None:
        return None
    errors = dict(score["errors"])
    for name, status in score["statuses"]:
        if status != "ok" and (name == part or what == "unjudged"):
            return errors.get(name, "")
    return None
