"""A few trajectories of every judged table, for trackers: chosen as the report chooses them, shown as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..report.chosen import order
from ..report.details import Details
from ..report.entries import Entries
from ..report.read import Line, RunData
from ..report.samples import cut
from ..tables import scan

COLUMNS = ("path", "stage", "iteration", "id", "policy", "category", "level", "task", "reference", "turns", "reward", "rewards", "status",
           "problem")  # fmt: skip


def chosen(root: Path, spec: Mapping[str, Any], line: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """At most `count` trajectories that this committed stage judged, the highest and the lowest reward first, then between them.

    Of an evaluation these are its own, of a score stage those of the newest table it judged. A row has COLUMNS: `stage` is where the
    trajectory was sampled, `task` its variables, `turns` the conversation, `rewards` those of the parts ("exact 1, format 0"),
    `problem` what failed. Nothing but this table and its scores is read.
    """
    here = _line(line["path"], line["stage"], line, "scores" if line["kind"] == "score" else "rows")
    file = root / f"tables/{here.path}/{here.stage}.parquet"
    if count < 1 or line["kind"] not in ("score", "evaluate") or not file.is_file():
        return []
    lines: tuple[Line, ...] = (here,)
    if here.kind == "score":
        source = _newest(file)
        if source is None:
            return []
        path, _, stage = source.rpartition("/")
        lines = (_line(path, stage, line, "rows"), here)
    run = RunData(root, "running", spec, "", {}, 0, (), lines, "")
    entries = Entries(run)
    part = entries.parts[0]
    if not part.rows:
        return []
    rows = order(part, 1, count)
    found, statuses = Details(run).read(part.line, set(rows)), entries.names("status")
    return [
        _row(part.line, found[n], statuses[int(part.columns["status"][n])], *(float(part.columns[c][n]) for c in ("reward", "level")))
        for n in rows if n in found
    ]  # fmt: skip


def _row(line: Line, detail: Mapping[str, Any], status: str, reward: float, level: float) -> dict[str, Any]:
    """COLUMNS of one trajectory, from what the report's browser shows of it."""
    task = detail["task"]
    turns = [f"{turn['source']}: {turn['text']}{' [...] ' + turn['tail'] if 'tail' in turn else ''}" for turn in detail["turns"]]
    rewards = ", ".join(f"{part} {value:g}" for part, value in detail.get("rewards", {}).items() if value is not None)
    problems = [f"{part}: {what} {message}".rstrip() for part, what, message in detail.get("problems", ())]
    problems = [detail["error"], *problems] if detail.get("error") else problems
    variables = [f"{name}: {value}" for name, value in task["vars"]]
    words = {"category": task["category"], "task": "\n".join(variables), "reference": task["answer"] or "", "turns": "\n".join(turns),
             "rewards": rewards, "problem": "; ".join(problems)}  # fmt: skip
    known = {"path": line.path, "stage": line.stage, "iteration": line.iteration, "id": detail["id"], "policy": detail["policy"],
             "status": status, "reward": None if reward != reward else reward, "level": None if level != level else level}  # fmt: skip
    row = {**known, **{name: cut(text) for name, text in words.items()}}
    return {name: row[name] for name in COLUMNS}


def _line(path: str, stage: str, line: Mapping[str, Any], table: str) -> Line:
    return Line(path, stage, line["kind"], line["iteration"], 0, 0.0, {}, {"table": table})


def _newest(file: Path) -> str | None:
    """The last table that a score table speaks of."""
    newest = None
    for batch in scan(file, ["source"]):
        if batch.num_rows:
            newest = batch.column("source")[batch.num_rows - 1].as_py()
    return newest
