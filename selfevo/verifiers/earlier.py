"""What parts ask about the rewards that parts before them gave."""

from __future__ import annotations

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Row
from .run import unscored


def earlier(row: Row, reward: str, ctx: RunCtx) -> float | None:
    """The reward an earlier part gave, or None where it could not (error, time-out, abstention).

    Raises UserError when no earlier part has that name.
    """
    if reward not in row.score.statuses and reward not in row.score.rewards:
        raise UserError(f"verifier.{ctx.name}: no part before it gives the reward '{reward}'{nearest(reward, row.score.statuses)}")
    return row.reward(reward)


def inherited(row: Row, reward: str, name: str) -> Row:
    """`row` where part `name` ends as `reward` did: same status, and whose it was in the message."""
    status = row.score.statuses.get(reward, "abstain")
    message = row.score.errors.get(reward, "no reward")
    return unscored(row, name, "abstain" if status == "ok" else status, f"{reward}: {message}")
