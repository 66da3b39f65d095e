"""`python -m benchmarks.tables_sides PHASE SIZE FOLDER`: one phase at one size in a process of its own, so that its peak memory is its own.

Prints one JSON line: `seconds` of the processor (neighbours on the machine do not change them), `wall` seconds, `extra` (bytes of peak
resident memory above what the process had when the phase began, imports and a first small table behind it) and `bytes` on disk. The
seconds that the generator of rows takes are left out.
"""

from __future__ import annotations

import gc
import json
import os
import pickle
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.trajectories import rows
from selfevo.commits import scan_rows
from selfevo.records import Row
from selfevo.store import RunDir
from selfevo.tables import batches, rows_table, scores_table

TABLE, SCORES, SPEC = "tables/main/rollout.parquet", "tables/main/score.parquet", "name: benchmark\n"
WARM = 512


class Made:
    """Rows from the generator, and the seconds it took to make them."""

    def __init__(self, n: int):
        self._rows, self.cpu, self.wall = rows(n), 0.0, 0.0

    def __iter__(self) -> Iterator[Row]:
        while True:
            cpu, wall = time.process_time(), time.perf_counter()
            some = list(islice(self._rows, 64))
            self.cpu += time.process_time() - cpu
            self.wall += time.perf_counter() - wall
            if not some:
                return
            yield from some


def write(n: int, folder: Path) -> Made:
    """A stage's table of judged trajectories, committed."""
    store, made = RunDir.create(folder, SPEC, {}, ""), Made(n)
    sha = store.write_table(TABLE, (rows_table(some, judged=True) for some in batches(made)))
    store.commit({"path": "main", "stage": "rollout", "table": "rows", "outputs": {TABLE: sha}})
    store.close()
    return made


def score(n: int, folder: Path) -> Made:
    """A table of scores of the same trajectories, committed beside it."""
    store, made = RunDir.open(folder), Made(n)
    parts = (scores_table(some, dict.fromkeys((r.trajectory.id for r in some), "main/rollout")) for some in batches(made))
    sha = store.write_table(SCORES, parts)
    store.commit({"path": "main", "stage": "score", "table": "scores", "outputs": {SCORES: sha}})
    store.close()
    return made


def scan(n: int, folder: Path, stage: str = "rollout") -> None:
    """Every row read back as a record, batch by batch, the hash checked first."""
    store = RunDir.open(folder)
    found = sum(len(some) for some in scan_rows(store, "main", stage))
    store.close()
    assert found == n, f"{found} rows, {n} were written"


def join(n: int, folder: Path) -> None:
    """The same through the table of scores."""
    scan(n, folder, "score")


def resume(n: int, folder: Path) -> None:
    """What a resume does before it goes on: open the directory, check the table against its hash."""
    store = RunDir.open(folder)
    store.verify(TABLE)
    store.close()


def commits(n: int, folder: Path) -> None:
    """A directory of `n` commits with a small file each: opened, every file checked, every stage looked up."""
    store = RunDir.open(folder)
    for entry in store.manifest[1:]:
        for file in entry["outputs"]:
            store.verify(file)
        assert store.entry(entry["path"], entry["stage"]) is entry
    assert len(store.metrics()) == n == len(store.entries("rollout"))
    store.close()


def prepare_commits(n: int, folder: Path) -> None:
    """The directory that `commits` reads. Not synced line by line: that is the disk's speed."""
    from hashlib import sha256

    RunDir.create(folder, SPEC, {}, "").close()
    with (folder / "manifest.jsonl").open("a") as manifest, (folder / "metrics.jsonl").open("a") as metrics:
        for i in range(n):
            at = {"path": f"main.{i}", "stage": "rollout"}
            name, body = f"state/main.{i}/rollout/curriculum.json", json.dumps({"drawn": i}).encode()
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(body)
            manifest.write(json.dumps({**at, "outputs": {name: sha256(body).hexdigest()}}) + "\n")
            metrics.write(json.dumps({**at, "metrics": {f"metric/{k}": i / (k + 1) for k in range(20)}}) + "\n")


def flat(some: Iterable[Row]) -> Iterator[dict[str, Any]]:
    """Rows as a researcher would hold them in a data frame: one column per field, token columns as lists."""
    for row in some:
        t, s = row.trajectory, row.score
        turn, task, cost = t.turns[0], t.task, t.cost
        yield {
            "id": t.id, "episode": t.episode, "role": t.role, "policy": t.policy, "status": t.status, "error": t.error,
            "task": task.id, "vars": dict(task.vars), "answer": task.answer, "category": task.category, "difficulty": task.difficulty,
            "text": turn.text, "tokens": list(turn.tokens), "logprobs": list(turn.logprobs or ()), "context": list(turn.context),
            "version": turn.version, "temperature": turn.temperature, "finish": turn.finish, "keys": dict(t.keys),
            "rewards": dict(s.rewards), "statuses": dict(s.statuses), "keep": s.keep,
            "prompt_tokens": cost.prompt_tokens, "generated_tokens": cost.generated_tokens, "calls": cost.calls, "seconds": cost.seconds,
        }  # fmt: skip


def pickle_write(n: int, folder: Path) -> Made:
    """A pandas DataFrame of the same rows, pickled."""
    import pandas as pd

    made = Made(n)
    folder.mkdir(exist_ok=True)
    pd.DataFrame(list(flat(made))).to_pickle(folder / "rows.pickle", protocol=pickle.HIGHEST_PROTOCOL)
    return made


def pickle_scan(n: int, folder: Path) -> None:
    """The data frame read back, every row of it visited."""
    import pandas as pd

    assert sum(1 for _ in pd.read_pickle(folder / "rows.pickle").itertuples()) == n


FILES = {"write": TABLE, "score": SCORES, "pickle_write": "rows.pickle"}
PHASES: dict[str, Callable[[int, Path], Made | None]] = {
    f.__name__: f for f in (write, score, scan, join, resume, commits, pickle_write, pickle_scan)
}


def resident(field: str) -> int:
    """`VmRSS` (resident memory now) or `VmHWM` (its peak since it was last reset) in bytes."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field + ":"))
    return int(line.split()[1]) * 1024


def measure(phase: str, n: int, folder: Path) -> dict[str, float]:
    """Run one phase."""
    warm = folder.parent / f"warm-{phase}-{n}"
    for before in {"scan": ["write"], "resume": ["write"], "score": ["write"], "join": ["write", "score"],
                   "pickle_scan": ["pickle_write"]}.get(phase, []):  # fmt: skip
        PHASES[before](WARM, warm)
    if phase == "commits":
        prepare_commits(WARM, warm)
        if not folder.exists():
            prepare_commits(n, folder)
    PHASES[phase](WARM, warm)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    began = resident("VmRSS")
    cpu, wall = time.process_time(), time.perf_counter()
    made = PHASES[phase](n, folder)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    out = {"seconds": cpu, "wall": wall, "extra": float(resident("VmHWM") - began)}
    if made is not None:
        out |= {"seconds": cpu - made.cpu, "wall": wall - made.wall, "bytes": float(os.path.getsize(folder / FILES[phase]))}
    return out


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
