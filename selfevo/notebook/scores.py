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
        self._held: tuple[str, dict[str, int], pa.StructArray | None] = ("", {}, None)

    def columns(self, line: Line, batch: pa.RecordBatch) -> dict[str, list[Any]]:
        """reward, keep, answer, feedback and "reward/<part>" of a batch of a committed table; None where nothing was said."""
        import pyarrow as pa

        own, names = batch.column("score"), batch.column("id").to_pylist()
        at, said = self._of(f"{line.path}/{line.stage}")
        if said is None:
            return _read(own)
        both = pa.concat_arrays([own, said])
        return _read(both.take(pa.array([len(own) + at[name] if name in at else i for i, name in enumerate(names)], pa.int64())))

    def _of(self, source: str) -> tuple[dict[str, int], pa.StructArray | None]:
        """Scores of one table's trajectories, and where in them each trajectory's is: the last to speak of it, in order of commit."""
        import pyarrow as pa
        import pyarrow.compute as pc

        if self._held[0] != source:
            parts: list[pa.StructArray] = []
            names: list[str] = []
            for line in self._index().get(source, ()):
                for batch in read(self.run.root, line, ["source", "trajectory", "score"]):
                    mine = batch.filter(pc.equal(batch.column("source"), source))
                    parts.append(mine.column("score"))
                    names += mine.column("trajectory").to_pylist()
            self._held = (source, {name: i for i, name in enumerate(names)}, pa.concat_arrays(parts) if parts else None)
        return self._held[1:]

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
    import pyarrow.compute as pc

    out: dict[str, list[Any]] = {
        "reward": [None if v != v else v for v in rewards(score).tolist()], "keep": pc.struct_field(score, "keep").to_pylist(),
        "answer": answers(score).to_pylist(), "feedback": pc.struct_field(score, "feedback").to_pylist(),
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
