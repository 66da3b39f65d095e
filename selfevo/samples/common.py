"""What every builder of samples needs: which rows may be trained on, their keys, and spans moved into a response."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Row, Step, Turn

DROPPED = "train/dropped"
"""Metric: rows a builder left out because they broke, were filtered, lack the reward or hold no trainable token."""


def usable(row: Row, reward: str | None) -> bool:
    """Whether a row may be trained on: it did not break, no filter took it out, and it has the reward where one is asked for."""
    return row.trajectory.status != "error" and row.score.keep and (reward is None or row.reward(reward) is not None)


def check_reward(rows: Sequence[Row], reward: str | None, who: str) -> None:
    """Raise UserError for a reward that no part gave or tried to give on any of the rows: a builder would drop them all unseen."""
    known = {name for row in rows for name in (*row.score.rewards, *row.score.statuses)}
    if rows and reward is not None and reward not in known:
        hint = nearest(reward, known) if known else "; the rows come from no score stage"
        raise UserError(f"{who}: no row has a reward '{reward}'{hint}")


def count_dropped(rows: Sequence[Row], built: int, ctx: RunCtx) -> None:
    """Log how many of `rows` gave no sample."""
    ctx.log(DROPPED, len(rows) - built)


def keys_of(row: Row) -> dict[str, str]:
    """The trajectory's keys with task, role, episode, group and category filled in."""
    t = row.trajectory
    return {"task": t.task.id, "role": t.role, "episode": t.episode, "group": row.group, "category": t.task.category, **t.keys}


def key_of(row: Row, by: Sequence[str], who: str) -> tuple[str, ...]:
    """The row's values of the named keys. Raises UserError, in the name of `who` asks, for a key the row does not have."""
    try:
        return row.key(*by)
    except KeyError as error:
        known = {"task", "role", "episode", "group", "category", *row.trajectory.keys}
        raise UserError(f"{who}: rows have no key '{error.args[0]}'{nearest(error.args[0], known)}") from None


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


def temperature_of(turns: Sequence[Turn], given: float | None, who: str) -> float:
    """The one temperature a row's log-probs are taken at: `given`, else the turns' own. Greedy turns (0) are read at 1, as engines
    report them. Raises UserError where the turns disagree."""
    if given is not None:
        return given
    found = {t.temperature or 1.0 for t in turns}
    if len(found) > 1:
        raise UserError(f"{who} was sampled at temperatures {sorted(found)}, but one training row has one: use samples.EachTurn")
    return found.pop()


def behaviour(turn: Turn, temperature: float) -> tuple[float, ...] | None:
    """The turn's behaviour log-probs; None where it has none or they were taken at another temperature."""
    return turn.logprobs if (turn.temperature or 1.0) == temperature else None


def check_temperature(temperature: float | None, who: str) -> None:
    """Raise UserError for a temperature that log-probs cannot be taken at."""
    if temperature is not None and not temperature > 0:
        raise UserError(f"{who}: temperature must be above 0, got {temperature}")
