"""What was said of trajectories: scores beside them (evaluations) and those of later score tables (rollouts)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..report.entries import answers, rewards
from .batches import file_of, read
from .optional import pandas

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from ..report.read import Line, RunData

PARTS = ("path", "stage", "iteration", "source", "trajectory", "step", "part", "reward", "status", "error")


class Judged:
    """Scores of trajectories by table. Which score table judges which trajectories is read once; the scores of one table are held."""

    def __init__(self, run: RunData):
        self.run = run
        self._by_source: dict[str, list[Line]] | None = None
        self._held: tuple[str, list[pa.RecordBatch]] = ("", [])

    def columns(self, line: Line, batch: pa.RecordBatch) -> dict[str, list[Any]]:
        """reward, keep, answer, feedback and "reward/<part>" of a batch of a committed table; None where nothing was said."""
        found = _read(batch.column("score"))
        if batch.column("score").null_count == batch.num_rows:
            found = {name: [None] * batch.num_rows for name in ("reward", "keep", "answer", "feedback")}
        at = {name: i for i, name in enumerate(batch.column("id").to_pylist())}
        for scores in self._of(f"{line.path}/{line.stage}"):  # a later table replaces what an earlier one said
            here = [(i, at[name]) for i, name in enumerate(scores.column("trajectory").to_pylist()) if name in at]
            said = _read(scores.column("score").take([i for i, _ in here])) if here else {}
            for name in found:
                if name.startswith("reward/"):
                    for _, j in here:
                        found[name][j] = None
            for name, values in said.items():
                column = found.setdefault(name, [None] * batch.num_rows)
                for (_, j), value in zip(here, values, strict=True):
                    column[j] = value
        return found

    def _of(self, source: str) -> list[pa.RecordBatch]:
        """Scores of one table's trajectories, in order of commit."""
        import pyarrow.compute as pc

        if self._held[0] != source:
            held = []
            for line in self._index().get(source, ()):
                for batch in read(self.run.root, line, ["source", "trajectory", "score"]):
                    held.append(batch.filter(pc.equal(batch.column("source"), source)))
            self._held = (source, held)
        return self._held[1]

    def _index(self) -> dict[str, list[Line]]:
        if self._by_source is None:
            self._by_source = {}
            for line in self.run.lines:
                if line.entry.get("table") == "scores" and file_of(self.run.root, line).is_file():
                    found = {s for batch in read(self.run.root, line, ["source"]) for s in batch.column("source").unique().to_pylist()}
                    for source in found:
                        self._by_source.setdefault(source, []).append(line)
        return self._by_source


def _read(score: pa.StructArray) -> dict[str, list[Any]]:
    """reward (what decides), keep, answer, feedback, and the reward of every part."""
    import numpy as np

    out: dict[str, list[Any]] = {
        "reward": [None if np.isnan(v) else v for v in rewards(score).tolist()], "keep": score.field("keep").to_pylist(),
        "answer": answers(score).to_pylist(), "feedback": score.field("feedback").to_pylist(),
    }  # fmt: skip
    given = [dict(row or ()) for row in score.field("rewards").to_pylist()]
    for part in dict.fromkeys(k for row in given for k in row):
        out[f"reward/{part}"] = [row.get(part) for row in given]
    return out


def scores(run: RunData, lines: Iterable[Line]) -> pd.DataFrame:
    """A row per judgement of one part: where, what it judges (`source`: the table, `trajectory`, `step`: None for the whole), `part`,
    `reward` (None where the part gave none), `status` ("ok", "error", "timeout", "abstain") and `error`."""
    rows = [row for line in lines for row in _parts(run, line)]
    return pandas().DataFrame(rows, columns=PARTS)


def _parts(run: RunData, line: Line) -> Iterator[tuple[Any, ...]]:
    own = line.entry["table"] == "rows"
    columns = ["id", "score", "step_scores"] if own else ["source", "trajectory", "score", "step_scores"]
    for batch in read(run.root, line, columns):
        names: Sequence[str] = batch.column("id" if own else "trajectory").to_pylist()
        sources = [f"{line.path}/{line.stage}"] * len(names) if own else batch.column("source").to_pylist()
        whole, steps = batch.column("score").to_pylist(), batch.column("step_scores").to_pylist()
        for name, source, score, each in zip(names, sources, whole, steps, strict=True):
            for one in (*([score] if score else ()), *(each or ())):
                given, errors = dict(one["rewards"]), dict(one["errors"])
                statuses = dict(one["statuses"])
                for part in dict.fromkeys([*given, *statuses]):
                    yield (line.path, line.stage, line.iteration, source, name, one["step"], part, given.get(part),
                           statuses.get(part, "ok"), errors.get(part))  # fmt: skip
