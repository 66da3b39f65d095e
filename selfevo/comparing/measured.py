"""What a run measured on its held-out tasks last, task by task."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import StoreError
from ..evals.estimators import interval, pass_at_k
from ..report.read import Line, RunData

DRAWS = 2000
"""Bootstrap resamples of every interval here."""


@dataclass(frozen=True)
class Estimate:
    """A number with the ends of its 95% interval, None where it has none."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Evaluation:
    """The last evaluation of a suite. `solved`: {task id: (samples that solved it, samples)}, empty where the table is gone.

    `metrics` are those of the suite without their "eval/<suite>/"; `path` and `stage` name the execution, `table` its file; `judged` is
    the reward that decides, and from where on a sample counts as solved.
    """

    suite: str
    path: str
    stage: str
    metrics: Mapping[str, float]
    solved: Mapping[str, tuple[int, int]]
    table: Path = Path()
    judged: tuple[str, float] = ("score", 0.5)

    def estimates(self) -> dict[str, Estimate]:
        """pass@1, pass@k and maj@k as the run logged them. Intervals are percentile bootstraps over tasks: the one the run logged with its
        pass@1, others from the table."""
        return self._estimates

    @cached_property
    def _estimates(self) -> dict[str, Estimate]:
        out = {}
        for name, value in self.metrics.items():
            if name == "maj@1" or not re.fullmatch(r"(pass|maj)@\d+", name):
                continue
            low, high = self.metrics.get(f"{name}/low"), self.metrics.get(f"{name}/high")
            if low is None and (values := self._by_task(name)):
                low, high = interval(values, DRAWS, "compare", self.suite, name)
            out[name] = Estimate(value, low, high)
        return dict(sorted(out.items(), key=lambda item: (item[0] != "pass@1", item[0])))

    def _by_task(self, name: str) -> list[float]:
        kind, _, k = name.partition("@")
        if kind != "pass" or any(samples < int(k) for _, samples in self.solved.values()):
            return []  # maj@k would need every answer again
        return [pass_at_k(samples, right, int(k)) for right, samples in self.solved.values()]


def evaluations(run: RunData) -> dict[str, Evaluation]:
    """The last evaluation of every suite of a run, by suite."""
    last: dict[str, Line] = {}
    for line in run.lines:
        if line.kind == "evaluate":
            for name in line.metrics:
                if match := re.fullmatch(r"eval/([^/]+)/pass@1", name):
                    last[match[1]] = line
    return {suite: _evaluation(run, suite, line) for suite, line in last.items()}


def _evaluation(run: RunData, suite: str, line: Line) -> Evaluation:
    prefix = f"eval/{suite}/"
    metrics = {name.removeprefix(prefix): value for name, value in line.metrics.items() if name.startswith(prefix)}
    table = run.root / "tables" / line.path / f"{line.stage}.parquet"
    judged = _judgement(run, line.stage)
    return Evaluation(suite, line.path, line.stage, metrics, solved(table, *judged, run.root) if table.is_file() else {}, table, judged)


def _judgement(run: RunData, stage: str) -> tuple[str, float]:
    """The reward that decides in a stage's suite, and from where on a task counts as solved; the suite's defaults where unsaid."""
    node: Any = run.spec.get("stages") or {}
    for key in (stage, "suite"):
        node = node.get(key) if isinstance(node, Mapping) else None
    suite = node if isinstance(node, Mapping) else {}
    return str(suite.get("correct", "score")), float(suite.get("threshold", 0.5))


def solved(table: Path, correct: str, threshold: float, root: Path | None = None) -> dict[str, tuple[int, int]]:
    """{task id: (samples with at least that reward, samples)}, by task id. A table of scores names trajectories of other tables of the
    run, which lie in `root`/tables.

    As in `evals.Suite`: pruned trajectories and those that an episode passed through on its way are no samples, and one without the
    reward did not solve its task. Raises StoreError for a table that cannot be read.
    """
    import pyarrow as pa

    from ..tables import task_from_json

    counts: dict[str, list[int]] = {}
    ids: dict[str, str] = {}
    try:
        for text, status, keys, score in _samples(table, root):
            if status == "pruned" or keys.get("final") == "no":
                continue
            if text not in ids:
                ids[text] = task_from_json(text).id
            count = counts.setdefault(ids[text], [0, 0])
            reward = None if score is None else score.rewards.get(correct)
            count[0] += reward is not None and reward >= threshold
            count[1] += 1
    except FileNotFoundError:  # the answers that were judged are gone
        return {}
    except (OSError, pa.ArrowException) as error:
        raise StoreError(f"{table}: cannot be read ({str(error).splitlines()[0]})") from error
    return {task: (right, samples) for task, (right, samples) in sorted(counts.items())}


def _samples(table: Path, root: Path | None) -> Iterator[tuple[str, str, Mapping[str, str], Any]]:
    """(task, status, keys, score) of every judged trajectory."""
    from ..tables import scan
    from ..tables.read import values, words

    if not _of_scores(table):
        for batch in scan(table, ["task", "status", "keys", "score"]):
            text, status = words(batch.column("task")), words(batch.column("status"))
            yield from zip(text, status, values(batch.column("keys")), values(batch.column("score")), strict=True)
        return
    scores: dict[str, dict[str, Any]] = {}
    for batch in scan(table, ["source", "trajectory", "score"]):
        sources, names = words(batch.column("source")), batch.column("trajectory").to_pylist()
        for source, name, score in zip(sources, names, values(batch.column("score")), strict=True):
            scores.setdefault(source, {})[name] = score
    for source, own in scores.items():
        for batch in scan((root or table.parent) / "tables" / f"{source}.parquet", ["id", "task", "status", "keys"]):
            text, status = words(batch.column("task")), words(batch.column("status"))
            for name, *rest in zip(batch.column("id").to_pylist(), text, status, values(batch.column("keys")), strict=True):
                if name in own:
                    yield (*rest, own[name])  # type: ignore[misc]


def _of_scores(table: Path) -> bool:
    import pyarrow.parquet as pq

    return "trajectory" in pq.read_schema(table).names


def questions(table: Path, ids: Collection[str], root: Path | None = None) -> dict[str, str]:
    """{task id: its question} of some tasks of a table: the prompt variable "question", else the first one."""
    out: dict[str, str] = {}
    seen: set[str] = set()
    for text, *_ in _samples(table, root):
        if text in seen:
            continue
        seen.add(text)
        body = json.loads(text)
        if body["id"] in ids:
            shown = body["vars"].get("question", next(iter(body["vars"].values()), ""))
            out[body["id"]] = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
        if len(out) == len(ids):
            break
    return out
