"""Takes groups without a signal out of training (DAPO's dynamic sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .earlier import earlier


class DropUniform:
    """keep = False for a group whose rewards are all equal: its group-normalised advantages are all zero.

    DAPO keeps only prompts with 0 < number right < group size (Yu et al. 2025, eq. 11); with 0/1 rewards this is that filter. Rows
    without the reward are looked past; a group with fewer than two rewards has nothing to compare and is dropped. The rollout asks for
    more where it counts kept rows.
    A filter, not a judge: it gives no reward and is never copied to `score`.

    Args:
        reward: the reward compared.
        within: rewards closer than this are equal.
    """

    scope: Literal["row", "group", "batch"] = "group"
    judges = False

    def __init__(self, reward: str, within: float = 0.0):
        if within < 0:
            raise UserError(f"drop_uniform: `within` is {within}; expected 0 or more")
        self.reward, self.within = reward, within

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The group, dropped or as it was."""
        rewards = [r for row in rows if (r := earlier(row, self.reward, ctx)) is not None]
        if len(rewards) > 1 and max(rewards) - min(rewards) > self.within:
            return list(rows)
        return [replace(row, score=replace(row.score, keep=False)) for row in rows]
