"""Soft punishment of replies close to the length limit (DAPO)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row


class Overlong:
    """0 up to L_max - L_cache tokens, then falling linearly to -1 at L_max (Yu et al. 2025, "DAPO", eq. 13).

    r(y) = 0                                   |y| <= L_max - L_cache
         = ((L_max - L_cache) - |y|) / L_cache     L_max - L_cache < |y| <= L_max
         = -1                                  |y| > L_max

    |y| counts the tokens the policy sampled, over all its turns. The paper has L_max 20480 and L_cache 4096.

    Args:
        max_tokens: L_max.
        cache: L_cache, 1 to L_max; null means a fifth of L_max, the paper's ratio, at least 1.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, max_tokens: int, cache: int | None = None):
        if max_tokens < 1:
            raise UserError(f"overlong: max_tokens is {max_tokens}; expected at least 1")
        self.max_tokens, self.cache = max_tokens, max(1, max_tokens // 5) if cache is None else cache
        if not 1 <= self.cache <= max_tokens:
            raise UserError(f"overlong: cache is {cache}; expected 1 to {max_tokens} (max_tokens)")

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the punishment, in [-1, 0], under `ctx.name`."""
        free = self.max_tokens - self.cache
        return [row.rewarded(ctx.name, max(-1.0, min(0.0, (free - row.trajectory.length) / self.cache))) for row in rows]
