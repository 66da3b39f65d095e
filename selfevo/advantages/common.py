"""Rewards of samples, gathered so that a trajectory counts once however many samples were made of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError, nearest
from ..protocols import RunCtx
from ..records import Row, Sample
from ..samples.common import key_of

Over = Literal["samples", "rows"]
"""Which rows make up a statistic: those that samples were built from, or every row that has the reward."""

Key = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gathered:
    """`rewards` and `keys` per sample; `members` maps each key to the rewards of its distinct rows, in row order."""

    rewards: list[float]
    keys: list[Key]
    members: Mapping[Key, list[float]]


def reward_of(row: Row, reward: str, ctx: RunCtx) -> float:
    """The named reward. Raises UserError where the row has none: builders drop such rows when told the same name."""
    value = row.reward(reward)
    if value is None:
        who = f"advantage '{ctx.name}': trajectory {row.trajectory.id} has no reward '{reward}'"
        if reward not in row.score.statuses:
            raise UserError(f"{who}{nearest(reward, row.score.rewards)}")
        raise UserError(f"{who} (its status: {row.score.statuses[reward]}); set reward: {reward} on the sample builder to drop such rows")
    return value


def gather(samples: Sequence[Sample], rows: Sequence[Row], reward: str, by: Sequence[str], over: Over, ctx: RunCtx) -> Gathered:
    """Rewards of `samples`, grouped by the keys `by` (none: one group of all). Raises UserError as `reward_of` and `key_of` do."""
    for s in samples:
        if not 0 <= s.row < len(rows):
            raise ValueError(f"sample {s.id} names row {s.row} of {len(rows)}")
    who = f"advantage '{ctx.name}'"
    counted = sorted({s.row for s in samples}) if over == "samples" else [i for i, r in enumerate(rows) if r.reward(reward) is not None]
    members: dict[Key, list[float]] = {}
    for i in counted:
        members.setdefault(key_of(rows[i], by, who), []).append(reward_of(rows[i], reward, ctx))
    rewards = [reward_of(rows[s.row], reward, ctx) for s in samples]
    return Gathered(rewards, [key_of(rows[s.row], by, who) for s in samples], members)


def mean(values: Sequence[float]) -> float:
    """Correctly rounded mean, the same in whatever order the values come."""
    return math.fsum(values) / len(values)


def deviation(values: Sequence[float], kind: Literal["population", "sample"]) -> float:
    """Standard deviation over n ("population") or n - 1 ("sample", needs two values). Equal values give exactly 0."""
    if min(values) == max(values):
        return 0.0
    m = mean(values)
    return math.sqrt(math.fsum((v - m) ** 2 for v in values) / (len(values) - (kind == "sample")))
