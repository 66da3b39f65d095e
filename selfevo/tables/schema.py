"""Columns and Arrow types of the three kinds of table."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

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
