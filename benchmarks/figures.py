"""Timing and its result: interleaved repeats, ratios pair by pair, one `Figure` per line of the table."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal


@dataclass
class Figure:
    """One measured line.

    `ratio` is ours to the peer's in the sense that more is better for `better="higher"` (how many times as fast, how many times
    smaller) and less is better for "lower" (seconds, times the limit, share). `low` and `high` are its extremes over the repeats.
    `ours` and `peer` are the medians it comes from, in `unit`; they are context, since machines differ and the ratio does not.
    `aim` is compared with the median; None: no aim was set, or it cannot be met here (`note` says why).
    """

    topic: str
    what: str
    beside: str
    ratio: float | None
    low: float | None = None
    high: float | None = None
    ours: float | None = None
    peer: float | None = None
    unit: str = "s"
    aim: float | None = None
    better: Literal["higher", "lower"] = "higher"
    repeats: int = 1
    note: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the median meets the aim."""
        if self.aim is None or self.ratio is None:
            return None
        return self.ratio >= self.aim if self.better == "higher" else self.ratio <= self.aim

    def to_json(self) -> dict[str, Any]:
        """A plain mapping, `met` included."""
        return {**asdict(self), "met": self.met}


def seconds(call: Callable[[], Any], clock: Callable[[], float] = time.perf_counter, generation: int = 2) -> float:
    """Seconds of one call on a clock (default: the wall's), with no garbage collection in between; that of `generation` comes before."""
    gc.collect(generation)
    gc.disable()
    try:
        began = clock()
        call()
        return clock() - began
    finally:
        gc.enable()


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """b of the least-squares fit value = a size^b: the slope of log value over log size."""
    return statistics.linear_regression([math.log(s) for s in sizes], [math.log(v) for v in values]).slope


def interleaved(calls: Mapping[str, Callable[[], Any]], repeats: int, warmup: int = 1, alternate: bool = False) -> dict[str, list[float]]:
    """Seconds of each call, taken in turn (A B A B ...), so that a drift of the machine's speed meets all of them alike.

    `alternate`: every second turn is backwards (A B B A ...), so that a steady drift is not held against who comes last.
    """
    for _ in range(warmup):
        for call in calls.values():
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(repeats):
        turn = list(calls.items())
        for name, call in reversed(turn) if alternate and i % 2 else turn:
            times[name].append(seconds(call))
    return times


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """Bounds that hold the median of what `values` were drawn from, in at least `confidence` of all cases, whatever its distribution:
    order statistics, whose ranks are those of fair coins. The whole range where there are too few values."""
    n, ordered, k = len(values), sorted(values), 0
    while 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n <= 1 - confidence:
        k += 1
    return ordered[max(k - 1, 0)], ordered[min(n - k, n - 1)]


def quotients(over: Sequence[float], under: Sequence[float]) -> list[float]:
    """over[i] / under[i]."""
    return [a / b for a, b in zip(over, under, strict=True)]


def ratios(over: Sequence[float], under: Sequence[float]) -> tuple[float, float, float]:
    """Median, lowest and highest of over[i] / under[i]."""
    found = quotients(over, under)
    return statistics.median(found), min(found), max(found)


def faster(topic: str, what: str, beside: str, ours: Sequence[float], peer: Sequence[float], **more: Any) -> Figure:
    """How many times as fast as the peer: peer seconds / our seconds."""
    ratio, low, high = ratios(peer, ours)
    return Figure(
        topic, what, beside, ratio, low, high, statistics.median(ours), statistics.median(peer), repeats=len(ours), **more
    )


def against_limit(topic: str, what: str, limit: str, ours: Sequence[float], bound: Sequence[float], **more: Any) -> Figure:
    """How many times the limit's time we take: our seconds / the limit's."""
    ratio, low, high = ratios(ours, bound)
    return Figure(
        topic, what, limit, ratio, low, high, statistics.median(ours), statistics.median(bound),
        better="lower", repeats=len(ours), **more,
    )  # fmt: skip


def merged(passes: Sequence[Sequence[Figure]]) -> list[Figure]:
    """One figure for the same figure of several passes: the medians, and the spread that the passes have between them."""
    out = []
    for same in zip(*passes, strict=True):
        found = [value for f in same for value in (f.ratio, f.low, f.high) if value is not None]
        out.append(
            replace(
                same[0], ratio=_middle([f.ratio for f in same]), low=min(found), high=max(found), ours=_middle([f.ours for f in same]),
                peer=_middle([f.peer for f in same]), repeats=len(same), detail={"passes": [f.detail for f in same]},
            )
        )  # fmt: skip
    return out


def _middle(values: Sequence[float | None]) -> float | None:
    given = [value for value in values if value is not None]
    return statistics.median(given) if given else None
