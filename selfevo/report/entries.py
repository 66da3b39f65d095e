"""Every trajectory of a run as a few numbers each: what the browser lists, what the heat maps and the exploration panel count.

One pass over the tables, by batches; of a trajectory nothing but these numbers stays in memory (72 bytes).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..tables import array, coded, plain, scalar, scan
from .read import Line, RunData

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

COLUMNS = ["id", "task", "role", "status", "keys", "cost.generated_tokens", "score.rewards", "score.info"]
CODES = ("role", "status", "category")
HASHES = ("group", "answer", "reference")
NUMBERS = ("reward", "level", "length")


@dataclass(eq=False)
class Part:
    """The trajectories of one table. `columns` are arrays [rows]: reward, level and length are floats (NaN for none), role, status
    and category are numbers into `Entries.names`, group, answer and reference numbers that tell groups and answers apart
    (-1: no answer; an answer that equals the reference as text has its number).
    `trouble` says why the table could not be read; `revision` grows with every change of any part."""

    line: Line
    rows: int = 0
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    trouble: str = ""
    revision: int = 0

    @property
    def file(self) -> str:
        """The table's file, seen from the run directory."""
        return f"tables/{self.line.path}/{self.line.stage}.parquet"


class Codes:
    """Numbers for texts, in order of first appearance."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, values: pa.Array) -> np.ndarray:
        """A number for each text; -1 for null."""
        import numpy as np

        texts, at = coded(values)
        return np.array([self.known.setdefault(v, len(self.known)) for v in texts] + [-1], dtype=np.int64)[at]


def hashed(values: pa.Array) -> np.ndarray:
    """A number of 63 bits for each text, equal within this process for equal texts: of the many groups and answers of a run none is
    kept; -1 for null."""
    import numpy as np

    texts, at = coded(values)
    return np.array([hash(v) & (1 << 63) - 1 for v in texts] + [-1], dtype=np.int64)[at]


class Entries:
    """All tables of trajectories of a run, in order of commit; `names` are the texts behind the codes."""

    def __init__(self, run: RunData, allows: Callable[[Path], bool] = lambda file: True):
        self.root, self.parts, self.revision = run.root, list[Part](), 0
        self._allows = allows
        self._codes = {name: Codes() for name in CODES}
        self._taken = 0
        self._by_source: dict[str, Part] = {}
        self.add(run.lines)

    def add(self, lines: Sequence[Line]) -> None:
        """Read the tables of a run's lines that are new; `lines` begins with those that were there before."""
        new, self._taken = lines[self._taken :], len(lines)
        parts = [Part(line) for line in new if line.entry.get("table") == "rows"]
        self._by_source |= {f"{p.line.path}/{p.line.stage}": p for p in parts}
        touched = set(map(id, parts))
        for part in parts:
            self._safely(part, self._read)
        self.parts += parts
        for line in new:
            file = self.root / f"tables/{line.path}/{line.stage}.parquet"
            if line.entry.get("table") == "scores" and self._allows(file) and file.is_file():
                touched |= set(map(id, self._judge(file)))
        for part in self.parts:
            if id(part) in touched:
                self.revision += 1
                part.revision = self.revision

    @property
    def total(self) -> int:
        """Trajectories in all tables."""
        return sum(p.rows for p in self.parts)

    def names(self, column: str) -> list[str]:
        """The texts of a coded column."""
        return list(self._codes[column].known)

    def _safely(self, part: Part, read: Any) -> None:
        try:
            if not self._allows(self.root / part.file):
                raise OSError("the file lies elsewhere")
            if not (self.root / part.file).is_file():
                raise OSError("the file is missing")
            read(part)
        except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError; a table may have been deleted to save space
            part.rows, part.columns = 0, {}
            part.trouble = " ".join(str(error).split())

    def _read(self, part: Part) -> None:
        import numpy as np

        found: dict[str, list[np.ndarray]] = {name: [] for name in (*CODES, *HASHES, *NUMBERS)}
        for batch in scan(self.root / part.file, COLUMNS):
            part.rows += batch.num_rows
            for name, values in self._columns(batch).items():
                found[name].append(values)
        part.columns = {name: np.concatenate(values) if values else np.zeros(0) for name, values in found.items()}

    def _columns(self, batch: pa.RecordBatch) -> dict[str, np.ndarray]:
        import numpy as np
        import pyarrow as pa
        import pyarrow.compute as pc

        tasks = batch.column("task").dictionary_encode()
        some = [_task(text) for text in tasks.dictionary.to_pylist()]
        at = plain(tasks.indices)
        category = np.array([self._codes["category"].known.setdefault(c, len(self._codes["category"].known)) for c, _, _ in some] or [0])
        reference = hashed(array([answer for _, _, answer in some], pa.string()))
        group = pc.map_lookup(batch.column("keys"), scalar("group", pa.string()), "last")
        own = tasks.dictionary.take(tasks.indices)
        score = batch.column("score")
        return {
            "role": self._codes["role"].of(batch.column("role")), "status": self._codes["status"].of(batch.column("status")),
            "category": category[at] if len(at) else np.zeros(0, dtype=np.int64),
            "level": np.array([level for _, level, _ in some] or [np.nan])[at] if len(at) else np.zeros(0),
            "group": hashed(pc.coalesce(group, own)),
            "length": plain(batch.column("cost").field("generated_tokens")).astype(float),
            "reward": rewards(score), "answer": hashed(answers(score)),
            "reference": reference[at] if len(at) else np.zeros(0, dtype=np.int64),
        }  # fmt: skip

    def _judge(self, file: Path) -> list[Part]:
        """Put the rewards of a table of scores where the trajectories are; a later table replaces an earlier one.
        Returns the parts judged."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids: dict[str, pa.Array] = {}
        judged: dict[str, Part] = {}
        try:
            for batch in scan(file, ["source", "trajectory", "score.rewards", "score.info"]):
                given, codes = rewards(batch.column("score")), hashed(answers(batch.column("score")))
                for source in pc.unique(batch.column("source")).to_pylist():
                    part = self._by_source.get(source)
                    if part is None or not part.rows:
                        continue
                    if source not in ids:
                        ids[source] = pa.concat_arrays([b.column("id") for b in scan(self.root / part.file, ["id"])])
                    judged[source] = part
                    at = plain(pc.index_in(batch.column("trajectory"), ids[source]).fill_null(scalar(-1, pa.int32())))
                    here = plain(pc.equal(batch.column("source"), scalar(source, pa.string()))) & (at >= 0)
                    part.columns["reward"][at[here]] = given[here]
                    told = here & (codes >= 0)
                    part.columns["answer"][at[told]] = codes[told]
        except (OSError, ValueError):
            pass  # the page's tables of metrics still tell the means
        return list(judged.values())


def answers(score: pa.StructArray) -> pa.StringArray:
    """The answer that a verifier noted, per row; null where none did."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(pc.map_lookup(score.field("info"), scalar("answer", pa.string()), "last"))


def rewards(score: pa.StructArray) -> np.ndarray:
    """What decides, per row: the reward named `score`, else the last one; NaN where there is none."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    given = score.field("rewards")
    found = pc.map_lookup(given, scalar("score", pa.string()), "last").cast("float64")
    out = plain(found.fill_null(scalar(float("nan"), pa.float64()))).copy()
    for i in np.flatnonzero(np.isnan(out)):
        pairs = given[int(i)].as_py()
        if pairs:
            out[i] = pairs[-1][1] if pairs[-1][1] is not None else float("nan")
    if score.null_count:
        out[~plain(score.is_valid())] = float("nan")
    return out


def index(entries: Entries, chosen: Sequence[tuple[int, Iterable[int] | None]]) -> dict[str, Any]:
    """The browser's index (its form is described in browser.js): for each (number of a part, its rows; None for all) an entry."""
    import numpy as np

    whole = all(rows is None for _, rows in chosen)
    tables: list[dict[str, Any]] = []
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ("role", "status", "category", *NUMBERS, "table", "row")}
    for number, rows in chosen:
        part = entries.parts[number]
        at = np.arange(part.rows) if rows is None else np.array(list(rows), dtype=np.int64)
        if not part.rows:
            continue
        tables.append({"path": part.line.path, "stage": part.line.stage, "kind": part.line.kind, "iteration": part.line.iteration,
                       "rows": part.rows})
        for name in ("role", "status", "category", *NUMBERS):
            columns[name].append(part.columns[name][at])
        columns["table"].append(np.full(len(at), len(tables) - 1))
        columns["row"].append(at)
    flat = {name: np.concatenate(values) if values else np.zeros(0, dtype=np.int64) for name, values in columns.items()}
    return {
        "tables": tables, "total": entries.total, "entries": len(flat["row"]), "row": None if whole else flat["row"].tolist(),
        "names": {name: entries.names(name) for name in ("role", "status", "category")},
        **{name: runs(flat[name]) for name in ("table", "role", "status", "category")},
        **{name: [_short(v) for v in flat[name].tolist()] for name in NUMBERS},
    }  # fmt: skip


def runs(values: np.ndarray) -> list[list[int]]:
    """[[value, count], ...] of equal neighbours."""
    import numpy as np

    if not len(values):
        return []
    starts = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])
    counts = np.diff(np.r_[starts, len(values)])
    return [[int(values[s]), int(c)] for s, c in zip(starts, counts, strict=True)]


def _short(value: float) -> float | int | None:
    """Four significant digits: what the list shows."""
    if value != value or value in (float("inf"), float("-inf")):
        return None
    return int(value) if value == int(value) else float(f"{value:.4g}")


def _task(text: str) -> tuple[str, float, str | None]:
    body = json.loads(text)
    level = body["difficulty"]
    return body["category"], float("nan") if level is None else float(level), body["answer"] and body["answer"].strip()
