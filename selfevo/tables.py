"""Records as Arrow tables: one Parquet file per stage, readable by any Arrow tool.

A rollout writes its trajectories (`score` null), an evaluation trajectories with scores, a score stage only scores with the path of
the table whose trajectories they judge (`source`): text is stored once. A train stage writes the samples it fitted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from .records import Cost, Lineage, Row, Sample, Score, Step, Task, Trajectory, Turn

if TYPE_CHECKING:
    import pyarrow as pa


@cache
def schemas() -> dict[str, pa.Schema]:
    """Arrow schemas by table kind: "rows" (trajectories, with or without scores), "scores", "samples"."""
    import pyarrow as pa

    words, ids = pa.map_(pa.string(), pa.string()), pa.list_(pa.int32())
    turn = pa.struct(
        {
            "source": pa.string(),
            "text": pa.string(),
            "tokens": ids,
            "logprobs": pa.list_(pa.float64()),
            "context": ids,
            "version": pa.string(),
            "temperature": pa.float64(),
            "finish": pa.string(),
        }
    )
    cost = pa.struct(
        {
            "prompt_tokens": pa.int64(),
            "generated_tokens": pa.int64(),
            "discarded_tokens": pa.int64(),
            "calls": pa.int64(),
            "seconds": pa.float64(),
        }
    )
    score = pa.struct(
        {
            "subject": pa.string(),
            "kind": pa.string(),
            "step": pa.int32(),
            "rewards": pa.map_(pa.string(), pa.float64()),
            "feedback": pa.string(),
            "verdicts": pa.map_(pa.string(), pa.float64()),
            "statuses": words,
            "errors": words,
            "info": words,
            "keep": pa.bool_(),
        }
    )
    span = pa.list_(pa.struct({"start": pa.int32(), "end": pa.int32()}))
    trajectory: list[tuple[str, pa.DataType]] = [
        ("id", pa.string()),
        ("task", pa.string()),
        ("role", pa.string()),
        ("policy", pa.string()),
        ("turns", pa.list_(turn)),
        ("episode", pa.string()),
        ("keys", words),
        ("memories", words),
        ("parent", pa.string()),
        ("prefix", pa.int32()),
        ("steps", span),
        ("status", pa.string()),
        ("error", pa.string()),
        ("cost", cost),
    ]
    judged: list[tuple[str, pa.DataType]] = [("score", score), ("step_scores", pa.list_(score))]
    column = pa.map_(pa.string(), pa.list_(pa.float64()))
    return {
        "rows": pa.schema(trajectory + judged),
        "scores": pa.schema([("source", pa.string()), ("trajectory", pa.string()), *judged]),
        "samples": pa.schema(
            [
                ("id", pa.string()),
                ("response", ids),
                ("contexts", pa.map_(pa.string(), ids)),
                ("numbers", pa.map_(pa.string(), pa.float64())),
                ("arrays", column),
                ("keys", words),
                ("steps", span),
                ("unit", pa.string()),
                ("place", pa.int32()),
                ("row", pa.int32()),
            ]
        ),
    }


def task_to_json(task: Task) -> str:
    """A task as JSON text; `task_from_json` gives an equal task back."""
    body: dict[str, Any] = {
        "id": task.id,
        "vars": dict(task.vars),
        "answer": task.answer,
        "category": task.category,
        "difficulty": task.difficulty,
        "environment": task.environment,
        "lineage": {"origin": task.lineage.origin, "parent": task.lineage.parent},
    }
    if task.turns:
        body["turns"] = [_turn(t) for t in task.turns]
    return json.dumps(body, ensure_ascii=False, allow_nan=False)


def task_from_json(text: str) -> Task:
    """The inverse of `task_to_json`."""
    body = json.loads(text)
    turns = tuple(_as_turn(t) for t in body.pop("turns", []))
    return Task(**{**body, "lineage": Lineage(**body["lineage"]), "turns": turns})


def rows_table(rows: Sequence[Row], judged: bool) -> pa.Table:
    """Table "rows": trajectories, with their scores when `judged`."""
    import pyarrow as pa

    seen: dict[int, str] = {}  # a group shares its task object: serialise it once
    out = []
    for row in rows:
        t = row.trajectory
        if id(t.task) not in seen:
            seen[id(t.task)] = task_to_json(t.task)
        out.append(
            {
                "id": t.id,
                "task": seen[id(t.task)],
                "role": t.role,
                "policy": t.policy,
                "turns": [_turn(x) for x in t.turns],
                "episode": t.episode,
                "keys": _pairs(t.keys),
                "memories": _pairs(t.memories),
                "parent": t.parent,
                "prefix": t.prefix,
                "steps": _spans(t.steps),
                "status": t.status,
                "error": t.error,
                "cost": _cost(t.cost),
                "score": _score(row.score) if judged else None,
                "step_scores": [_score(s) for s in row.steps] if judged else None,
            }
        )
    return pa.Table.from_pylist(out, schema=schemas()["rows"])


def scores_table(rows: Sequence[Row], sources: Mapping[str, str]) -> pa.Table:
    """Table "scores"; `sources` maps a trajectory's id to the table that holds it ("main.3/rollout")."""
    import pyarrow as pa

    out = [
        {
            "source": sources[r.trajectory.id],
            "trajectory": r.trajectory.id,
            "score": _score(r.score),
            "step_scores": [_score(s) for s in r.steps],
        }
        for r in rows
    ]
    return pa.Table.from_pylist(out, schema=schemas()["scores"])


def samples_table(samples: Sequence[Sample]) -> pa.Table:
    """Table "samples"."""
    import pyarrow as pa

    out = [
        {
            "id": s.id,
            "response": s.response,
            "contexts": _pairs(s.contexts),
            "numbers": [(k, v) for k, v in s.columns.items() if not isinstance(v, tuple)],
            "arrays": [(k, v) for k, v in s.columns.items() if isinstance(v, tuple)],
            "keys": _pairs(s.keys),
            "steps": _spans(s.steps),
            "unit": s.unit,
            "place": s.place,
            "row": s.row,
        }
        for s in samples
    ]
    return pa.Table.from_pylist(out, schema=schemas()["samples"])


def rows_from(table: pa.Table) -> list[Row]:
    """Rows of a "rows" table, equal to what was written."""
    tasks: dict[str, Task] = {}
    out = []
    for r in table.to_pylist():
        if r["task"] not in tasks:
            tasks[r["task"]] = task_from_json(r["task"])
        trajectory = Trajectory(
            id=r["id"],
            task=tasks[r["task"]],
            role=r["role"],
            policy=r["policy"],
            turns=tuple(_as_turn(t) for t in r["turns"]),
            episode=r["episode"],
            keys=dict(r["keys"]),
            memories=dict(r["memories"]),
            parent=r["parent"],
            prefix=r["prefix"],
            steps=tuple(Step(**s) for s in r["steps"]),
            status=r["status"],
            error=r["error"],
            cost=Cost(**r["cost"]),
        )
        score = Score(trajectory.id) if r["score"] is None else _as_score(r["score"])
        out.append(Row(trajectory, score, tuple(_as_score(s) for s in r["step_scores"] or ())))
    return out


def scored_from(table: pa.Table, trajectories: Mapping[str, Trajectory]) -> list[Row]:
    """Rows of a "scores" table joined with the trajectories they judge."""
    return [
        Row(trajectories[r["trajectory"]], _as_score(r["score"]), tuple(_as_score(s) for s in r["step_scores"])) for r in table.to_pylist()
    ]


def samples_from(table: pa.Table) -> list[Sample]:
    """Samples of a "samples" table (columns in name order within numbers and arrays)."""
    return [
        Sample(
            id=r["id"],
            response=tuple(r["response"]),
            contexts={k: tuple(v) for k, v in r["contexts"]},
            columns={**dict(r["numbers"]), **{k: tuple(v) for k, v in r["arrays"]}},
            keys=dict(r["keys"]),
            steps=tuple(Step(**s) for s in r["steps"]),
            unit=r["unit"],
            place=r["place"],
            row=r["row"],
        )
        for r in table.to_pylist()
    ]


def _pairs(mapping: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(mapping.items())


def _spans(steps: Iterable[Step]) -> list[dict[str, int]]:
    return [{"start": s.start, "end": s.end} for s in steps]


def _turn(t: Turn) -> dict[str, Any]:
    return {
        "source": t.source,
        "text": t.text,
        "tokens": t.tokens,
        "logprobs": t.logprobs,
        "context": t.context,
        "version": t.version,
        "temperature": t.temperature,
        "finish": t.finish,
    }


def _as_turn(t: Mapping[str, Any]) -> Turn:
    logprobs = None if t["logprobs"] is None else tuple(t["logprobs"])
    return Turn(t["source"], t["text"], tuple(t["tokens"]), logprobs, tuple(t["context"]), t["version"], t["temperature"], t["finish"])


def _cost(c: Cost) -> dict[str, Any]:
    return {
        "prompt_tokens": c.prompt_tokens,
        "generated_tokens": c.generated_tokens,
        "discarded_tokens": c.discarded_tokens,
        "calls": c.calls,
        "seconds": c.seconds,
    }


def _score(s: Score) -> dict[str, Any]:
    return {
        "subject": s.subject,
        "kind": s.kind,
        "step": s.step,
        "rewards": _pairs(s.rewards),
        "feedback": s.feedback,
        "verdicts": _pairs(s.verdicts),
        "statuses": _pairs(s.statuses),
        "errors": _pairs(s.errors),
        "info": _pairs(s.info),
        "keep": s.keep,
    }


def _as_score(s: Mapping[str, Any]) -> Score:
    return Score(
        s["subject"],
        s["kind"],
        s["step"],
        dict(s["rewards"]),
        s["feedback"],
        dict(s["verdicts"]),
        dict(s["statuses"]),
        dict(s["errors"]),
        dict(s["info"]),
        s["keep"],
    )
