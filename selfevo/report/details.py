"""Trajectories in full, as the browser shows them: turns with their tokens, scores, advantages, what was read and what it cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from ..tables import array, scalar, scan
from .pieces import Decode, cuts, decoder
from .read import Line, RunData

HEAD, TAIL = 6000, 1000
"""Characters of one text that are shown: its beginning and, where it is longer than both together, its end."""
TURN = [f"turns.list.element.{name}" for name in ("source", "text", "tokens", "logprobs", "version", "finish")]
COLUMNS = ["id", "task", "policy", "episode", "keys", "memories", "parent", "prefix", "error", "cost", *TURN, "score"]


class Details:
    """Reads details of chosen trajectories of one run. Tables that are missing give none."""

    def __init__(self, run: RunData, allows: Callable[[Path], bool] = lambda file: True):
        self.run = run
        self._allows = allows
        self._names = set(_advantages(run.spec))
        self._decoders: dict[str, Decode | None] = {}
        self._sources: dict[Path, set[str]] = {}

    def read(self, line: Line, rows: Iterable[int]) -> dict[int, dict[str, Any]]:
        """{row number: detail} of a table (its form is described in browser.js). Raises OSError, ValueError for an unreadable table."""
        if not self._allows(self._file(line)):
            raise OSError("the file lies elsewhere")
        found = {n: self._detail(row) for n, row in taken(self._file(line), COLUMNS, set(rows))}
        by_id = {d["id"]: d for d in found.values()}
        if by_id:
            source, after = f"{line.path}/{line.stage}", self.run.lines[self.run.lines.index(line) + 1 :]
            self._judge(source, self._of(source, "scores", after), by_id)
            if self._names:
                self._weigh(self._of(source, "samples", after), by_id)
        for detail in found.values():
            del detail["_tokens"]
        return found

    def _file(self, line: Line) -> Path:
        return self.run.root / f"tables/{line.path}/{line.stage}.parquet"

    def _detail(self, row: Mapping[str, Any]) -> dict[str, Any]:
        task = json.loads(row["task"])
        words = [[name, _cut(v if isinstance(v, str) else json.dumps(v, ensure_ascii=False))] for name, v in task["vars"].items()]
        out: dict[str, Any] = {
            "id": row["id"], "policy": row["policy"], "episode": row["episode"], "parent": row["parent"], "prefix": row["prefix"],
            "keys": {k: _cut(v) for k, v in row["keys"]}, "memories": dict(row["memories"]), "error": row["error"] and _cut(row["error"]),
            "cost": {k: v for k, v in (row["cost"] or {}).items() if v},
            "task": {"id": task["id"], "vars": words, "answer": task["answer"] and _cut(task["answer"]), "category": task["category"],
                     "difficulty": task["difficulty"], "origin": task["lineage"]["origin"], "parent": task["lineage"]["parent"]},
            "turns": [self._turn(turn, row["policy"]) for turn in row["turns"]],
            "_tokens": [(turn["source"], turn["tokens"]) for turn in row["turns"]],
        }  # fmt: skip
        if row["score"] is not None:
            _score(out, row["score"])
        # An episode that failed at once has no turns; they and their tokens stay, empty, for those who go through them.
        return {k: v for k, v in out.items() if k in ("turns", "_tokens") or v not in (None, {}, [], "")}

    def _turn(self, turn: Mapping[str, Any], policy: str) -> dict[str, Any]:
        text = turn["text"]
        whole = len(text) <= HEAD + TAIL
        out: dict[str, Any] = {"source": turn["source"], "text": text if whole else text[:HEAD]}
        if not whole:
            out |= {"left": len(text) - HEAD - TAIL, "tail": text[-TAIL:]}
        if turn["version"] and turn["version"] != policy:
            out["version"] = turn["version"]
        if turn["finish"]:
            out["finish"] = turn["finish"]
        decode = self._decoder(turn["version"] or policy) if turn["source"] == "policy" and turn["tokens"] else None
        widths = cuts(turn["tokens"], text, decode) if decode is not None else None
        if widths is not None:
            if not whole:  # colours end where the beginning does
                widths = widths[: sum(at <= HEAD for at in accumulate(widths))]
            out["cuts"] = widths
            if turn["logprobs"]:
                out["logp"] = [_round(v) for v in turn["logprobs"][: len(widths)]]
        return out

    def _decoder(self, policy: str) -> Decode | None:
        name = policy.partition("@")[0]
        if name not in self._decoders:
            self._decoders[name] = decoder(self.run, name)
        return self._decoders[name]

    def _of(self, source: str, kind: str, lines: Sequence[Line]) -> Iterator[Line]:
        """Those of the lines whose table is of a kind, is there, and has anything about the trajectories of `source`. What each table is
        about is read once."""
        for line in lines:
            file = self._file(line)
            if line.entry.get("table") == kind and self._allows(file) and file.is_file():
                if file not in self._sources:
                    self._sources[file] = set(sources(file, kind))
                if source in self._sources[file]:
                    yield line

    def _judge(self, source: str, tables: Iterable[Line], by_id: Mapping[str, dict[str, Any]]) -> None:
        """Scores from these tables; a later one replaces an earlier one."""
        import pyarrow as pa
        import pyarrow.compute as pc

        ids = array(list(by_id), pa.string())
        for line in tables:
            for batch in scan(self._file(line), ["source", "trajectory", "score"]):
                here = pc.and_(pc.equal(batch.column("source"), scalar(source, pa.string())), pc.is_in(batch.column("trajectory"), ids))
                for row in batch.filter(here).to_pylist():
                    _score(by_id[row["trajectory"]], row["score"])

    def _weigh(self, tables: Iterable[Line], by_id: Mapping[str, dict[str, Any]]) -> None:
        """Advantages from the first train table that fitted each trajectory."""
        import pyarrow as pa
        import pyarrow.compute as pc

        missing = set(by_id)
        for line in tables:
            if not missing:
                return
            names = {name for batch in scan(self._file(line), ["id"]) for name in batch.column("id").to_pylist()}
            wanted = {name for name in names if owner(name, missing)}
            if not wanted:
                continue
            for batch in scan(self._file(line), ["id", "response", "numbers", "arrays"]):
                for row in batch.filter(pc.is_in(batch.column("id"), array(list(wanted), pa.string()))).to_pylist():
                    self._advantage(by_id[owner(row["id"], by_id)], row)
            missing -= {owner(name, missing) for name in wanted}

    def _advantage(self, detail: dict[str, Any], sample: Mapping[str, Any]) -> None:
        numbers, arrays = dict(sample["numbers"]), dict(sample["arrays"])
        for name in sorted(self._names):
            values = arrays.get(name)
            if values is None and name not in numbers:
                continue
            mean = numbers[name] if values is None else sum(values) / max(1, len(values))
            detail.setdefault("advantage", {}).setdefault(name, _round(mean))
            mask = arrays.get("mask")
            each = [numbers[name]] * len(sample["response"]) if values is None else values
            each = [_round(v) if mask is None or mask[i] else None for i, v in enumerate(each)]
            place(detail, sample["response"], each)


def sources(file: Path, kind: str) -> Iterator[str]:
    """The tables of trajectories ("main.3/rollout") that a table of scores judges or a table of samples was made of."""
    import pyarrow.compute as pc

    if kind == "scores":
        for batch in scan(file, ["source"]):
            yield from pc.unique(batch.column("source")).to_pylist()
        return
    for batch in scan(file, ["id"]):  # "<source>/<episode>.<n>", and "/<turn>" after it where each turn is a sample
        stems = pc.unique(pc.replace_substring_regex(batch.column("id"), "/[^/]*$", ""))
        yield from stems.to_pylist()
        yield from pc.unique(pc.replace_substring_regex(stems, "/[^/]*$", "")).to_pylist()


def place(detail: dict[str, Any], response: Sequence[int], values: Sequence[float | None]) -> None:
    """Give each policy turn its part of numbers over a response: a stretch of the trajectory's tokens that begins with a policy turn.
    A response that is no such stretch (another context, edited text) colours nothing."""
    ids = [token for _, tokens in detail["_tokens"] for token in tokens]
    starts = list(accumulate((len(tokens) for _, tokens in detail["_tokens"]), initial=0))
    begin = next((s for s, (source, _) in zip(starts, detail["_tokens"], strict=False)
                  if source == "policy" and ids[s : s + len(response)] == list(response)), None)
    if begin is None:
        return
    for start, turn, (source, tokens) in zip(starts, detail["turns"], detail["_tokens"], strict=False):
        if source == "policy" and "cuts" in turn and "adv" not in turn and begin <= start < begin + len(response):
            mine = list(values[start - begin : start - begin + len(tokens)])
            turn["adv"] = (mine + [None] * len(tokens))[: len(turn["cuts"])]


def taken(file: Path, columns: Sequence[str], rows: set[int]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, row) of these rows of a Parquet file, in order; reads no further than the last of them."""
    import pyarrow as pa

    at, last = 0, max(rows, default=-1)
    if last < 0:
        return
    if not file.is_file():
        raise OSError("the file is missing")
    for batch in scan(file, columns):
        here = sorted(n for n in rows if at <= n < at + batch.num_rows)
        if here:
            yield from zip(here, batch.take(array([n - at for n in here], pa.int64())).to_pylist(), strict=True)
        at += batch.num_rows
        if at > last:
            return


def owner(sample: str, ids: Iterable[str]) -> str:
    """The trajectory a sample was made of: builders name it by the trajectory's id, or that with "/" and a turn; "" for no such id."""
    held = ids if isinstance(ids, (set, Mapping)) else set(ids)
    before = sample.rpartition("/")[0]
    return sample if sample in held else before if before in held else ""


def _score(detail: dict[str, Any], score: Mapping[str, Any]) -> None:
    errors = dict(score["errors"])
    found = {
        "rewards": {k: _round(v, 6) for k, v in score["rewards"]}, "feedback": score["feedback"] and _cut(score["feedback"]),
        "problems": [[part, status, _cut(errors.get(part, ""))] for part, status in score["statuses"] if status != "ok"],
        "verdicts": {k: _round(v, 6) for k, v in score["verdicts"]}, "info": {k: _cut(v) for k, v in score["info"]},
    }  # fmt: skip
    detail.update({k: v for k, v in found.items() if v})
    if score["keep"] is False:
        detail["keep"] = False


def _advantages(node: Any) -> Iterator[str]:
    """Names of the advantage columns of every optimizer of a spec."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            if key == "advantage" and isinstance(value, Mapping):
                yield from (str(name) for name in value)
            yield from _advantages(value)


def _cut(text: str) -> str:
    return text if len(text) <= HEAD else f"{text[:HEAD]}\n[… {len(text) - HEAD:,} characters left out]"


def _round(value: float | None, digits: int = 3) -> float | int | None:
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return None
    short = round(value, digits)
    return int(short) if short == int(short) else short
