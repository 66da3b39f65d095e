"""A few trajectories of the last tables, as the page shows them. Only the head of each table is read, and no token ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..tables import scan
from .read import Line, RunData

HEAD = 64
"""Rows of a table that are looked at."""
SHOWN = 4000
"""Characters of one text that are shown."""
HIDDEN = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u00ad\\u061c\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]")
"""Characters that a reader does not see, or that move others (browser.js has the same)."""
STAGES = 6
"""Rollout and evaluation stages whose last table is shown."""
COLUMNS = ["id", "task", "policy", "status", "error", "turns.list.element.source", "turns.list.element.text", "score"]


@dataclass
class Example:
    """One trajectory: `vars` are its task's prompt variables, `turns` are (source, text), `problems` are (part, status, message)."""

    id: str
    policy: str
    status: str
    vars: list[tuple[str, str]]
    answer: str | None
    turns: list[tuple[str, str]]
    rewards: dict[str, float] = field(default_factory=dict)
    feedback: str | None = None
    problems: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def reward(self) -> float | None:
        """What decides: the reward named `score`, else the last one."""
        return self.rewards.get("score", next(reversed(self.rewards.values()), None))


@dataclass
class Excerpt:
    """Examples of one table (`table` is its file), or `trouble`: why there are none."""

    table: str
    kind: str
    examples: list[Example] = field(default_factory=list)
    trouble: str = ""


def excerpts(run: RunData) -> list[Excerpt]:
    """The last table of each rollout and evaluate stage, evaluations first."""
    last = {line.stage: line for line in run.lines if line.kind in ("evaluate", "rollout") and line.entry.get("table") == "rows"}
    chosen = sorted(last.values(), key=lambda line: line.kind)[:STAGES]
    return [_excerpt(run, line) for line in chosen]


def _excerpt(run: RunData, line: Line) -> Excerpt:
    out = Excerpt(f"tables/{line.path}/{line.stage}.parquet", line.kind)
    try:
        rows = _head(run.root / out.table, COLUMNS)
        found = {row["id"]: _example(row) for row in rows}
        if line.kind == "rollout":
            _judge(run, line, found)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError; a table may have been deleted to save space
        out.trouble = " ".join(str(error).split())
        return out
    out.examples = choose(found.values())
    return out


def choose(examples: Iterable[Example]) -> list[Example]:
    """The highest, the middle and the lowest reward, then the first example with a problem."""
    found = list(examples)
    judged = sorted((e for e in found if e.reward is not None), key=lambda e: -(e.reward or 0.0))
    picked = [judged[0], judged[len(judged) // 2], judged[-1]] if judged else found[:3]
    picked += [e for e in found if e.problems][:1]
    return list({e.id: e for e in picked}.values())


def _head(file: Path, columns: list[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if not file.is_file():
        raise OSError("the file is missing")
    batch = next(pq.ParquetFile(file).iter_batches(HEAD, columns=columns, use_threads=False), None)
    return [] if batch is None else batch.to_pylist()


def _example(row: Mapping[str, Any]) -> Example:
    task = json.loads(row["task"])
    words = {name: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for name, value in task["vars"].items()}
    shown = [(name, cut(text)) for name, text in words.items()]
    out = Example(row["id"], row["policy"], row["status"], shown, task["answer"], [(t["source"], cut(t["text"])) for t in row["turns"]])
    if row["error"]:
        out.problems.append(("episode", "error", cut(row["error"])))
    if row["score"] is not None:
        _add_score(out, row["score"])
    return out


def _judge(run: RunData, line: Line, found: Mapping[str, Example]) -> None:
    """Scores of these trajectories from the score tables committed after them; a later one replaces an earlier one."""
    at = run.lines.index(line)
    source = f"{line.path}/{line.stage}"
    for later in {x.stage: x for x in run.lines[at + 1 :] if x.entry.get("table") == "scores"}.values():
        file = run.root / f"tables/{later.path}/{later.stage}.parquet"
        if not file.is_file():
            continue
        for batch in scan(file, ["source", "trajectory", "score"]):
            keys = zip(batch.column("source").to_pylist(), batch.column("trajectory").to_pylist(), strict=True)
            for at, (table, name) in enumerate(keys):
                if table == source and name in found:
                    _add_score(found[name], batch.column("score")[at].as_py())


def _add_score(example: Example, score: Mapping[str, Any]) -> None:
    example.rewards = dict(score["rewards"])
    example.feedback = cut(score["feedback"]) if score["feedback"] else None
    errors = dict(score["errors"])
    example.problems = [p for p in example.problems if p[0] == "episode"]
    example.problems += [(part, status, cut(errors.get(part, ""))) for part, status in score["statuses"] if status != "ok"]


def visible(text: object) -> str:
    """The text with control characters as pictures and marks of direction or no width by number: nothing hides or turns what is there."""
    return HIDDEN.sub(lambda m: _mark(ord(m[0])), str(text))


def cut(text: str) -> str:
    """The visible text, its middle left out where it is very long."""
    if len(text) > SHOWN:
        text = f"{text[: SHOWN // 2]}\n[… {len(text) - SHOWN:,} characters left out …]\n{text[-SHOWN // 2 :]}"
    return visible(text)


def _mark(code: int) -> str:
    return chr(0x2400 + code) if code < 32 else "␡" if code == 127 else f"⟨U+{code:04X}⟩"
