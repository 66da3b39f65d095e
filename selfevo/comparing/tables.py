"""A comparison as tables of short texts: what the terminal and Markdown show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ..report.numbers import duration, number
from ..report.samples import visible
from .comparison import Against, Comparison, Speed
from .measured import Estimate
from .paired import Difference

NONE = "–"


Topic = Literal["runs", "results", "paired", "speed", "cost"]


@dataclass(frozen=True)
class Table:
    """Rows of text under a title. The first column names the run or arm; `left` tells for each column whether it is set left. Notes
    follow. `topic` and `suite` say what it is about."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: tuple[bool, ...]
    notes: tuple[str, ...] = ()
    topic: Topic = "runs"
    suite: str = ""


def tables(comparison: Comparison) -> list[Table]:
    """Every table that has something to say, in reading order: of the runs, and of the arms where some arm has several runs."""
    from . import arm_tables as by_arm

    c = comparison
    out = [_runs(c), *([by_arm.arms(c)] if c.seeded else [])]
    for suite in c.suites:
        out += [_results(c, suite), *([by_arm.results(c, suite)] if c.seeded else [])]
    out += [table for against in c.against if (table := by_arm.against(c, against) if c.seeded else _against(c, against))]
    for speed in c.speeds:
        if any(speed.budgets.values()):
            out += [by_arm.speed(c, speed) if c.seeded else _speed(c, speed), *by_arm.reached(c, speed)]
    return [clean(table) for table in ([*out, _costs(c)] if any(c.costs) else out)]


def clean(table: Table) -> Table:
    """The table with every text on one line and nothing in it that a terminal would obey."""
    def line(text: str) -> str:
        return visible(" ".join(text.splitlines()))

    columns, notes = tuple(map(line, table.columns)), tuple(map(line, table.notes))
    return replace(table, columns=columns, rows=tuple(tuple(map(line, row)) for row in table.rows), notes=notes)


def names(c: Comparison) -> list[str]:
    """What the tables call the runs: their labels, or numbers where a label is so long that it would leave no room for figures."""
    labels = [found.label for found in c.runs]
    return labels if max(map(len, labels)) <= c.room else [f"#{i}" for i in range(1, len(labels) + 1)]


def arm_names(c: Comparison) -> list[str]:
    """What the tables call the arms: as the runs where each arm is one run; else their labels, or letters where one is long."""
    if not c.seeded:
        return names(c)
    labels = [arm.label for arm in c.arms]
    return labels if max(map(len, labels)) <= c.room + 8 else [letters(i) for i in range(len(labels))]


def letters(number: int) -> str:
    """A to Z, then AA, AB, ..."""
    return (letters(number // 26 - 1) if number >= 26 else "") + chr(65 + number % 26)


def _runs(c: Comparison) -> Table:
    called = names(c)
    long = called != [f.label for f in c.runs]
    columns = ("run", *(("directory",) if long else ()), "status", *c.settings)
    rows = [
        (called[i], *((f.label,) if long else ()), f.status, *(column[i] for column in c.settings.values())) for i, f in enumerate(c.runs)
    ]
    notes = [f"run {called[i]} failed: {f.error}" for i, f in enumerate(c.runs) if f.error]
    if len(c.runs) > 1 and not c.settings:
        notes.append("no setting differs")
    return Table("Runs and the settings that differ", columns, tuple(rows), (True,) * len(columns), tuple(notes))


def _results(c: Comparison, suite: str) -> Table:
    measured = [mine.get(suite) for mine in c.evaluations]
    estimates = [m.estimates() if m is not None else {} for m in measured]
    kinds = list(dict.fromkeys(name for e in estimates for name in e))
    rows = []
    for called, m, mine in zip(names(c), measured, estimates, strict=True):
        tasks = NONE if m is None else number(m.metrics.get("tasks", float(len(m.solved))))
        rows.append((called, *(interval(mine.get(name)) for name in kinds), tasks, NONE if m is None else m.path))
    columns, left = ("run", *kinds, "tasks", "at"), (True, *(False for _ in kinds), False, True)
    title = f"Held-out {suite}, last measured [95% interval over tasks]"
    notes = []
    judged = {called: m.judged for called, m in zip(names(c), measured, strict=True) if m is not None}
    if len(set(judged.values())) > 1:
        told = "; ".join(f"run {called}: {reward} of at least {least:g}" for called, (reward, least) in judged.items())
        notes.append(f"not one measure: a sample counts as solved by different rewards ({told})")
    absent = [called for called, m, f in zip(names(c), measured, c.runs, strict=True) if m is None and f.run is not None]
    if absent:
        notes.append(f"not measured on {suite}: run {', '.join(absent)}")
    return Table(title, columns, tuple(rows), left, tuple(notes), "results", suite)


def _speed(c: Comparison, speed: Speed) -> Table:
    axes = [axis for axis, limit in speed.budgets.items() if limit > 0]
    shown = {axis: f"{number(limit)} tokens" if axis == "tokens" else duration(limit) for axis, limit in speed.budgets.items()}
    columns = ("run", *(text for axis in axes for text in (f"at {shown[axis]}", "mean")))
    rows = []
    for called, at in zip(names(c), speed.at, strict=True):
        cells = [plain(x) for axis in axes for x in ((at[axis].value, at[axis].mean) if at is not None else (None, None))]
        rows.append((called, *cells))
    note = "cost is everything but evaluation; mean: of the curve up to there. A dash: never measured, or stopped before"
    title = f"Learning speed: pass@1 of {speed.suite} at equal cost"
    return Table(title, columns, tuple(rows), (True, *(False for _ in columns[1:])), (note,), "speed", speed.suite)


def _against(c: Comparison, against: Against) -> Table | None:
    base = names(c)[c.arms[against.baseline].runs[0]]
    rows = [(called, *difference_cells(d)) for called, d in zip(names(c), against.by_run, strict=True) if d is not None]
    columns = ("run", "difference", "p", "better", "worse", "tasks")
    notes = [*(["difference of the share of samples solved, task by task; p: exact randomisation test, two-sided"] if rows else []),
             *left_out(c, against)]  # fmt: skip
    title = f"Against run {base} on {against.suite}, paired"
    return Table(title, columns, tuple(rows), (True, *(False,) * 5), tuple(notes), "paired", against.suite) if notes else None


def difference_cells(d: Difference | None) -> tuple[str, ...]:
    """difference, p, better, worse, tasks."""
    if d is None:
        return (NONE,) * 5
    p = NONE if d.p is None else "< 0.0001" if d.p < 1e-4 else f"{d.p:.4f}"
    return interval(Estimate(d.mean, d.low, d.high), "+"), p, str(d.better), str(d.worse), str(d.tasks)


def left_out(c: Comparison, against: Against) -> list[str]:
    """Notes on what has no difference, and why. Runs that measured nothing at all are explained by their status."""
    alone = max((d.alone for d in against.by_run if d is not None), default=0)
    notes = [f"up to {alone} tasks were measured in one of two runs only and are left out"] if alone else []
    by_reason: dict[str, list[str]] = {}
    for called, why, mine in zip(names(c), against.why, c.evaluations, strict=True):
        if why and mine:
            by_reason.setdefault(why, []).append(called)
    return notes + [f"not compared: run {', '.join(who)}, for {why}" for why, who in by_reason.items()]


def _costs(c: Comparison) -> Table:
    rows: list[tuple[str, ...]] = []
    for called, cost in zip(names(c), c.costs, strict=True):
        if cost is None:
            rows.append((called, *(NONE,) * 7))
            continue
        seconds = map(duration, (cost.seconds, cost.generate, cost.train))
        rate = NONE if cost.rate is None else number(round(cost.rate))
        rows.append((called, number(cost.updates), *seconds, number(cost.generated), number(cost.trained), rate))
    columns = ("run", "updates", "time", "generate", "train", "tokens", "trained", "tokens/s")
    return Table("Cost, evaluation included", columns, tuple(rows), (True, *(False,) * 7), topic="cost")


def interval(estimate: Estimate | None, sign: str = "") -> str:
    """0.312 [0.281, 0.344]; `sign` "+" shows it of positive numbers too."""
    if estimate is None:
        return NONE
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3f}"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def plain(value: float | None) -> str:
    """Three decimals, or a dash."""
    return NONE if value is None else f"{value:.3f}"


def widths(table: Table, rows: Sequence[Sequence[str]]) -> list[int]:
    """Columns' widths in characters."""
    return [max(map(len, cells)) for cells in zip(table.columns, *rows, strict=True)]
