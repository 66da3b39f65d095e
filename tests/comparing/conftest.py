"""Run directories written by hand: what `selfevo compare` reads, with known numbers."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from selfevo.records import Cost, Row, Task, Trajectory, Turn
from selfevo.tables import rows_table, write


def judged(question: str, sample: int, reward: float | None, status: str = "finished", name: str = "score") -> Row:
    """A sample of a held-out task with its reward."""
    turn = Turn("policy", "x", (1,), context=(2,))
    task = Task({"question": question}, answer="4")
    trajectory = Trajectory(f"{question}-{sample}", task, "solver", "solver@000000", (turn,), question, status=status, cost=Cost(1, 1))
    row = Row.of(trajectory)
    return row.failed(name, "error", "broken") if reward is None else row.rewarded(name, reward)


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """A run of one suite, "sums": `evals` are (pass@1, generated training tokens, seconds) since the evaluation before."""

    def make(
        name: str,
        evals: Sequence[tuple[float, float, float]],
        rows: Sequence[Row] = (),
        spec: Mapping[str, Any] | None = None,
        end: bool = True,
        command: Sequence[str] = (),
        log: str = "",
    ) -> Path:
        import yaml

        root = tmp_path / name
        root.mkdir(parents=True)
        metrics: list[dict[str, Any]] = []
        for i, (value, tokens, seconds) in enumerate(evals):
            if i:
                common = {"path": f"main.{i - 1}", "iteration": i - 1, "versions": {}}
                cost = {"rollout/generated_tokens": tokens, "time/generate": seconds / 2}
                metrics.append({**common, "stage": "rollout", "kind": "rollout", "seconds": seconds / 2, "metrics": cost})
                fitted = {"train/tokens": tokens / 2}
                metrics.append({**common, "stage": "train", "kind": "train", "seconds": seconds / 2, "metrics": fitted})
            path = f"main.{i - 1}" if i else "start"
            measured = {"eval/sums/pass@1": value, "eval/sums/tasks": 4.0, "eval/sums/generated_tokens": 7.0}
            metrics.append({"path": path, "stage": "evaluate", "kind": "evaluate", "iteration": 0, "versions": {}, "seconds": 100.0,
                            "metrics": measured})  # fmt: skip
        manifest: list[dict[str, Any]] = [{"path": "", "stage": "create"}]
        manifest += [{k: m[k] for k in ("path", "stage", "kind")} | {"table": "rows"} for m in metrics]
        manifest += [{"path": "", "stage": "end"}] if end else []
        for file, lines in (("metrics.jsonl", metrics), ("manifest.jsonl", manifest)):
            (root / file).write_text("".join(json.dumps(line) + "\n" for line in lines))
        whole = {"name": "demo", "seed": 0, "stages": {"evaluate": {"suite": {"correct": "score", "threshold": 0.5}}}, **(spec or {})}
        (root / "spec.yaml").write_text(yaml.safe_dump(whole))
        (root / "environment.json").write_text(json.dumps({"command": list(command)}))
        (root / "log.txt").write_text(log)
        (root / ".lock").touch()
        if rows:
            table = root / "tables" / metrics[-1]["path"] / "evaluate.parquet"
            table.parent.mkdir(parents=True)
            write(table, [rows_table(list(rows), True)])
        return root

    return make


@pytest.fixture
def sample() -> Callable[..., Row]:
    return judged
