"""Pacing: how an endpoint's limits per minute are kept."""

from __future__ import annotations

import time


class Pace:
    """Spaces amounts (requests, tokens) evenly, so that no minute sees more than `per_minute` of them; None is no limit.

    Every amount takes its share of time, amount x 60 / per_minute seconds, and the next one waits until the shares before it have
    passed. Shares may be corrected once an amount is known. An idle time is not saved up: there are no bursts.
    """

    def __init__(self, per_minute: float | None):
        self._share = 0.0 if per_minute is None else 60.0 / per_minute
        self._free = 0.0

    async def wait(self, amount: float = 1.0) -> None:
        """Return when `amount` may be asked for."""
        if self._share:
            import asyncio  # an engine is made and checked without it

            now = time.monotonic()
            at = max(now, self._free)
            self._free = at + amount * self._share
            await asyncio.sleep(at - now)

    def correct(self, amount: float) -> None:
        """Add to what was waited for, or take from it where negative."""
        self._free += amount * self._share
