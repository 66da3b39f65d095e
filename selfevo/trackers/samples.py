"""What trackers take from a judged table: a few trajectories, chosen as the report chooses them, and what became of its groups."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..report.chosen import order
from ..report.details import Details
from ..report.entries import Entries
from ..report.explore import shares
from ..report.read import Line, RunData
from ..report.samples import cut
from ..tables import scan

COLUMNS = ("path", "stage", "iteration", "id", "policy", "category", "level", "task", "reference", "turns", "reward", "rewards", "status",
           "problem")  # fmt: skip


class Judged:
    """The table that a committed stage judged: of an evaluation its own, of a score stage the newest it spoke of. Nothing but this table
    and its scores is read. `stage` is where its trajectories were sampled, `part` is None where there are none."""

    def __init__(self, root: Path, spec: Mapping[str, Any], line: Mapping[str, Any]):
        here = _line(line["path"], line["stage"], line["kind"], line, "scores" if line["kind"] == "score" else "rows")
        file = root / f"tables/{here.path}/{here.stage}.parquet"
        self.stage, self.part = here.stage, None
        if line["kind"] not in ("score", "evaluate") or not file.is_file():
            return
        lines: tuple[Line, ...] = (here,)
        if here.kind == "score":
            source = _newest(file)
            if source is None:
                return
            path, _, self.stage = source.rpartition("/")
            lines = (_line(path, self.stage, "rollout", line, "rows"), here)
        self._run = RunData(root, "running", spec, "", {}, 0, (), lines, "")
        self._entries = Entries(self._run)
        self.part = self._entries.parts[0] if self._entries.parts[0].rows else None

    def samples(self, count: int) -> list[dict[str, Any]]:
        """At most `count` trajectories, the lowest and the highest reward first, then between them.

        A row has COLUMNS: `stage` is where the trajectory was sampled, `task` its variables, `turns` the conversation, `rewards` those of
        the parts ("exact 1, format 0"), `problem` what failed.
        """
        if self.part is None:
            return []
        rows, columns = order(self.part, 1, count), self.part.columns
        found, statuses = Details(self._run).read(self.part.line, set(rows)), self._entries.names("status")
        return [
            _row(self.part.line, found[n], statuses[int(columns["status"][n])], *(float(columns[c][n]) for c in ("reward", "level")))
            for n in rows if n in found
        ]  # fmt: skip

    def groups(self) -> dict[str, float]:
        """What became of the groups of a rollout, as the report counts it (`report.explore.groups`); of an evaluation nothing."""
        return shares(self.part) if self.part is not None and self.part.line.kind == "rollout" else {}


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


def _line(path: str, stage: str, kind: str, line: Mapping[str, Any], table: str) -> Line:
    return Line(path, stage, kind, line["iteration"], 0, 0.0, {}, {"table": table})


def _newest(file: Path) -> str | None:
    """The last table that a score table speaks of."""
    newest = None
    for batch in scan(file, ["source"]):
        if batch.num_rows:
            newest = batch.column("source")[batch.num_rows - 1].as_py()
    return newest
