"""What every builder of samples needs: which rows may be trained on, their keys, and spans moved into a response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..protocols import RunCtx
from ..records import Row, Step, Turn

DROPPED = "train/dropped"
"""Metric: rows a builder left out because they broke, were filtered, lack the reward or hold no trainable token."""


def usable(row: Row, reward: str | None) -> bool:
    """Whether a row may be trained on: it did not break, no filter took it out, and it has the reward where one is asked for."""
    return row.trajectory.status != "error" and row.score.keep and (reward is None or row.reward(reward) is not None)


def count_dropped(rows: Sequence[Row], built: int, ctx: RunCtx) -> None:
    """Log how many of `rows` gave no sample."""
    ctx.log(DROPPED, len(rows) - built)


def keys_of(row: Row) -> dict[str, str]:
    """The trajectory's keys with task, role, episode, group and category filled in."""
    t = row.trajectory
    return {"task": t.task.id, "role": t.role, "episode": t.episode, "group": row.group, "category": t.task.category, **t.keys}


def starts(turns: Sequence[Turn]) -> Iterator[tuple[int, Turn]]:
    """Each turn with its position in the concatenation of all turns."""
    at = 0
    for turn in turns:
        yield at, turn
        at += len(turn.tokens)


def within(spans: Sequence[Step], start: int, end: int) -> tuple[Step, ...]:
    """Spans cut to [start, end) and counted from `start`; those that fall outside are left out."""
    cut = (Step(max(s.start, start) - start, min(s.end, end) - start) for s in spans)
    return tuple(s for s in cut if s.end > s.start)


def row_temperature(temperature: float) -> float:
    """The temperature log-probs are taken at: greedy turns (0) are read at 1, as engines report them."""
    return 1.0 if temperature == 0 else temperature
