"""What the trajectory browser is fed with: numbers in portions, texts one by one, and a search through the tables."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..report.details import Details
from ..report.entries import Entries, Part, index
from ..report.read import RunData
from ..report.samples import visible
from ..tables import scan
from .run import Watched

PORTION = 20_000
"""Trajectories whose numbers one answer holds, at most."""
COLUMNS = ("role", "status", "category", "reward", "level", "length")
"""What the page lists and filters by."""
WORDS = 200
"""Most rows that one answer has the first words of."""
SECONDS = 4.0
"""How long one search may look through tables."""
TREE = 200
"""Most trajectories of one tree that are named."""


class Trajectories:
    """The trajectories of one run, read on as it grows. Every method may be called from any thread; one works at a time.

    A cursor tells what the page has: "<token>.<revision>.<part>.<rows>": every part up to that revision, and of the next one so many rows.
    """

    def __init__(self, run: Watched, data: RunData):
        self._lock = threading.Lock()
        self._token = f"{time.time_ns():x}"
        self.entries = Entries(data, run.allows)
        self.details = Details(data, run.allows)
        self._allows = run.allows

    def grow(self, data: RunData) -> None:
        """Take in what was committed since."""
        with self._lock:
            self.details.run = data
            self.entries.add(data.lines)

    def portion(self, cursor: str) -> dict[str, Any]:
        """The parts that changed since a cursor, up to PORTION rows: what browser.js calls an index, of each part (`part`, from row
        `start`). `more`: there are others. `anew`: the cursor is of another reading, so that what the page has counts no more."""
        with self._lock:
            token, revision, part, rows = self._parsed(cursor)
            left, out = PORTION, []
            changed = sorted((p for p in self.entries.parts if p.revision > revision), key=lambda p: p.revision)
            at = (revision, -1, 0)
            for p in changed:
                number = self.entries.parts.index(p)
                start = rows if number == part and rows < p.rows else 0
                count = min(p.rows - start, left)
                out.append({"part": number, "start": start, **self._columns(number, range(start, start + count))})
                left -= count
                at = (p.revision, -1, 0) if start + count >= p.rows else (at[0], number, start + count)
                if left <= 0:
                    break
            more = bool(changed) and at[0] < changed[-1].revision
            names = {name: self.entries.names(name) for name in ("role", "status", "category")}
            return {"anew": token != self._token, "parts": out, "names": names, "total": self.entries.total, "more": more,
                    "cursor": f"{self._token}.{at[0]}.{at[1]}.{at[2]}",
                    "missing": [[p.file, p.trouble] for p in self.entries.parts if p.trouble]}  # fmt: skip

    def _parsed(self, cursor: str) -> tuple[str, int, int, int]:
        token, *numbers = cursor.split(".")
        if token != self._token or len(numbers) != 3 or not all(n.lstrip("-").isdigit() for n in numbers):
            return "", 0, -1, 0
        revision, part, rows = map(int, numbers)
        return token, revision, part, rows

    def _columns(self, number: int, rows: range) -> dict[str, Any]:
        found = index(self.entries, [(number, rows)])
        part = self.entries.parts[number]
        line = part.line
        table = {"path": line.path, "stage": line.stage, "kind": line.kind, "iteration": line.iteration, "rows": part.rows}
        return {"table": table, "rows": len(rows), **{name: found[name] for name in COLUMNS}}

    def one(self, part: int, row: int) -> dict[str, Any] | None:
        """A trajectory in full with its tree, or None where there is none."""
        with self._lock:
            where = self._part(part)
            if where is None:
                return None
            try:
                found = self.details.read(where.line, [row]).get(row)
                if found is not None and (tree := list(self._tree(where, row))):
                    found["tree"] = tree
            except (OSError, ValueError):
                return None
            return found

    def words(self, part: int, start: int, stop: int) -> list[str]:
        """The first words of the tasks of these rows."""
        with self._lock:
            where = self._part(part)
            if where is None:
                return []
            out: list[str] = []
            at = 0
            try:
                for batch in scan(self._file(where), ["task"]):
                    if at + batch.num_rows > start:
                        piece = batch.column("task").slice(max(0, start - at), max(0, min(stop, at + batch.num_rows) - max(start, at)))
                        out += [_words(text) for text in piece.to_pylist()]
                    at += batch.num_rows
                    if at >= min(stop, start + WORDS):
                        break
            except (OSError, ValueError):
                return out
            return out[:WORDS]

    def find(self, name: str) -> tuple[int, int] | None:
        """(part, row) of the trajectory with this id, or None."""
        source = name.rpartition("/")[0]
        with self._lock:
            for number, part in enumerate(self.entries.parts):
                if f"{part.line.path}/{part.line.stage}" == source and part.rows:
                    row = self._row(part, name)
                    return None if row is None else (number, row)
            return None

    def _row(self, part: Part, name: str) -> int | None:
        import pyarrow.compute as pc

        at = 0
        try:
            for batch in scan(self._file(part), ["id"]):
                row = pc.index(batch.column("id"), name).as_py()
                if row >= 0:
                    return at + row
                at += batch.num_rows
        except (OSError, ValueError):
            return None
        return None

    def search(self, text: str, first: int = 0) -> dict[str, Any]:
        """Rows by part whose task or turns hold the text, upper or lower case, of the parts from `first` on, the newest tables first;
        `parts`: how many there are; `left`: tables for which there was no time."""
        found: dict[int, list[int]] = {}
        began = time.monotonic()
        with self._lock:
            parts = list(enumerate(self.entries.parts))
            count = len(parts)
            parts = parts[first:]
        for n, (number, part) in enumerate(reversed(parts)):
            if time.monotonic() - began > SECONDS:
                return {"found": found, "parts": count, "left": len(parts) - n}
            try:
                rows = sorted(set(self._matches(part, text)))
            except (OSError, ValueError):
                continue
            if rows:
                found[number] = rows
        return {"found": found, "parts": count, "left": 0}

    def _matches(self, part: Part, text: str) -> Iterator[int]:
        import pyarrow.compute as pc

        if not part.rows:
            return
        at = 0
        for batch in scan(self._file(part), ["id", "task", "error", "turns.list.element.text"]):
            for name in ("id", "task", "error"):
                wanted = json.dumps(text, ensure_ascii=False)[1:-1] if name == "task" else text
                hits = pc.match_substring(batch.column(name), wanted, ignore_case=True).fill_null(False)
                yield from (at + i for i in pc.indices_nonzero(hits).to_pylist())
            turns = batch.column("turns")
            hits = pc.match_substring(pc.struct_field(pc.list_flatten(turns), "text"), text, ignore_case=True).fill_null(False)
            yield from (at + i for i in pc.list_parent_indices(turns).filter(hits).to_pylist())
            at += batch.num_rows

    def _tree(self, part: Part, row: int) -> Iterator[dict[str, Any]]:
        """The trajectories of the same table that share an ancestor with this one, nothing where none branched."""
        import pyarrow as pa

        batches = list(scan(self._file(part), ["id", "parent", "prefix"]))
        table = pa.Table.from_batches(batches)
        parents = table.column("parent").to_pylist() if table.column("parent").null_count < table.num_rows else []
        if not parents:
            return
        ids, prefixes = table.column("id").to_pylist(), table.column("prefix").to_pylist()
        above = dict(zip(ids, parents, strict=True))
        tops: dict[str, str] = {}

        def top(name: str) -> str:
            path = []
            while above.get(name) in above and name not in tops and name not in path:
                path.append(name)
                name = above[name]
            for each in path:
                tops[each] = tops.get(name, name)
            return tops.get(name, name)

        mine = top(ids[row])
        kin = [i for i, name in enumerate(ids) if top(name) == mine]
        rewards = part.columns["reward"]
        for i in kin[:TREE] if len(kin) > 1 else []:
            note = "" if rewards[i] != rewards[i] else f"reward {float(rewards[i]):.4g}"
            yield {"id": ids[i], "parent": parents[i], "prefix": prefixes[i], "note": note}

    def _part(self, number: int) -> Part | None:
        return self.entries.parts[number] if 0 <= number < len(self.entries.parts) and self.entries.parts[number].rows else None

    def _file(self, part: Part) -> Path:
        file = self.entries.root / part.file
        if not self._allows(file):
            raise OSError("the file lies elsewhere")
        return file


def _words(task: str) -> str:
    values = json.loads(task)["vars"].values()
    first = next((v if isinstance(v, str) else json.dumps(v, ensure_ascii=False) for v in values), "")
    return visible(" ".join(first[:240].split())[:120])
