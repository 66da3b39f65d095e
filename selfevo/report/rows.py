"""Figures with a row per run or arm, and with a bar per task: their data and what a reader hears who does not see them. `vega_rows` draws
them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import LISTED
from .numbers import number

BARS = 400
"""Most bars of one drawing: of more tasks an even choice."""


@dataclass(frozen=True)
class Dot:
    """One row: a value, the ends of its interval (None where it has none) and single values beside it (of an arm its runs')."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    single: tuple[float, ...] = ()

    @property
    def span(self) -> tuple[float, float]:
        """The least and the greatest that is drawn of it."""
        all_ = [self.value, *self.single, *(x for x in (self.low, self.high) if x is not None)]
        return min(all_), max(all_)


@dataclass(frozen=True)
class Dots:
    """A dot and an interval per row, over one x axis. `mark`: a value that gets a line across all rows. `coloured`: row i has the colour
    of curve i; else all have one. `limits`: of the x axis (None: fitted)."""

    title: str
    note: str
    rows: tuple[Dot, ...]
    x_label: str
    mark: float | None = None
    coloured: bool = False
    limits: tuple[float, float] | None = None
    wide: bool = True

    kind = "dots"

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        said = "; ".join(f"{r.label}: {number(r.value)}" + (
            f", {number(r.low)} to {number(r.high)}" if r.low is not None and r.high is not None else "") for r in self.rows)  # fmt: skip
        return f"Dots with intervals of {self.title}. {said}."

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers."""
        several = any(len(r.single) > 1 for r in self.rows)
        rows: list[list[float | str | None]] = []
        for r in self.rows:
            rows.append([r.label, r.value, r.low, r.high, *([", ".join(number(x) for x in r.single)] if several else [])])
        return ["", self.x_label, "low", "high", *(["single"] if several else [])], rows


class Levels(Dots):
    """Of each value of a key the mean of its runs, from the lowest to the highest of them."""

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers."""
        return ["value", "runs", "mean", "lowest", "highest"], [[r.label, len(r.single), r.value, r.low, r.high] for r in self.rows]


@dataclass(frozen=True)
class Scatter:
    """A point per run: a setting that is a number, and a metric. `log`: the setting is drawn on a logarithmic axis. `limits` of y."""

    title: str
    note: str
    points: tuple[tuple[float, float], ...]
    x_label: str
    y_label: str
    log: bool
    limits: tuple[float, float]

    kind, wide = "scatter", False

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        low, high = self.points[0], self.points[-1]
        return (f"{len(self.points)} points of {self.y_label} over {self.x_label}: {number(low[1])} at {number(low[0])}, "
                f"{number(high[1])} at {number(high[0])}.")  # fmt: skip

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers."""
        shown = self.points if len(self.points) <= LISTED else [self.points[i] for i in spaced(len(self.points), LISTED)]
        return [self.x_label, self.y_label], [list(p) for p in shown]


@dataclass(frozen=True)
class Bars:
    """One bar per task, the greatest value first, above or below zero. `tasks` name them, `ours` and `theirs` are what the value is the
    difference of, `counts` how many are above, at and below zero."""

    title: str
    note: str
    values: tuple[float, ...]
    tasks: tuple[str, ...]
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    counts: tuple[int, int, int]

    kind, wide = "bars", False

    @property
    def spoken(self) -> str:
        """What a screen reader says instead of the picture."""
        up, same, down = self.counts
        return f"Bars of {self.title}, one per task, the greatest first. {up} above zero, {same} at zero, {down} below."

    @property
    def table(self) -> tuple[list[str], list[list[float | str | None]]]:
        """Header and rows of the numbers."""
        whole = list(zip(self.tasks, self.values, self.ours, self.theirs, strict=True))
        if len(whole) > LISTED:
            whole = [whole[i] for i in spaced(len(whole), LISTED)]
        return ["task", "difference", "share solved", "baseline"], [list(row) for row in whole]


def bars(title: str, ours: dict[str, float], theirs: dict[str, float], names: dict[str, str]) -> Bars:
    """Bars of the differences of two shares per task; tasks are named by `names`, else by their ids."""
    order = sorted(ours, key=lambda task: (theirs[task] - ours[task], task))
    differences = [ours[task] - theirs[task] for task in order]
    counts = (sum(d > 0 for d in differences), sum(d == 0 for d in differences), sum(d < 0 for d in differences))
    kept = even(order, BARS)
    note = f"{len(kept)} of {len(order)} tasks drawn" if len(kept) < len(order) else f"{len(order)} tasks"
    note += f": {counts[0]} better, {counts[1]} equal, {counts[2]} worse"
    return Bars(title, note, tuple(ours[t] - theirs[t] for t in kept), tuple(names.get(t, t) for t in kept),
                tuple(ours[t] for t in kept), tuple(theirs[t] for t in kept), counts)  # fmt: skip


def even(items: Sequence[str], most: int) -> list[str]:
    """At most `most` of them, evenly spaced, the first and the last included."""
    return list(items) if len(items) <= most else [items[i] for i in spaced(len(items), most)]


def spaced(length: int, most: int) -> list[int]:
    """`most` indices below `length`, evenly spaced, the first and the last included."""
    return [round(i * (length - 1) / (most - 1)) for i in range(most)]
