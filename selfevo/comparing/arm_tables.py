"""Tables with a line per arm: means over seeds, differences to the baseline's arm, costs to reach a level."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low

from ..report.numbers import duration, number
from .comparison import AXES, Against, Comparison, Speed
from .measured import Estimate
from .speed import first_at, levels
from .student import OverSeeds, over_seeds
from .tables import NONE, Table, arm_names, difference_cells, interval, left_out, names

SEEDS = "[95% interval over seeds, Student]"


def arms(c: Comparison) -> Table:
    """Which runs make up each arm."""
    called, runs = arm_names(c), names(c)
    keys = list(dict.fromkeys(key for arm in c.arms for key in arm.settings))
    rows = []
    for name, arm in zip(called, c.arms, strict=True):
        rows.append((name, ", ".join(runs[r] for r in arm.runs), *(arm.settings.get(key, NONE) for key in keys)))
    columns = ("arm", "runs", *keys)
    return Table("Arms: runs that differ by their seed alone", columns, tuple(rows), (True,) * len(columns))


def finals(c: Comparison, suite: str) -> dict[str, list[OverSeeds | None]]:
    """{pass@1, pass@k, maj@k: its mean over the runs of each arm}."""
    each = [mine[suite].estimates() if suite in mine else {} for mine in c.evaluations]
    kinds = dict.fromkeys(name for e in each for name in e)
    return {kind: [over_seeds([each[r][kind].value for r in arm.runs if kind in each[r]]) for arm in c.arms] for kind in kinds}


def results(c: Comparison, suite: str) -> Table:
    """Final metrics of the arms."""
    measured = finals(c, suite)
    rows = []
    for i, name in enumerate(arm_names(c)):
        counted = sum(suite in c.evaluations[r] for r in c.arms[i].runs)
        rows.append((name, f"{counted} of {len(c.arms[i].runs)}", *(interval(seeded(column[i])) for column in measured.values())))
    columns = ("arm", "runs", *measured)
    left = (True, *(False,) * (len(columns) - 1))
    return Table(f"Held-out {suite}, mean of each arm {SEEDS}", columns, tuple(rows), left, (), "results", suite)


def seed_differences(c: Comparison, against: Against, arm: int) -> OverSeeds | None:
    """Mean over seeds of the differences of an arm's runs to their partners."""
    return over_seeds([d.mean for run in c.arms[arm].runs if (d := against.by_run[run]) is not None])


def against(c: Comparison, against: Against) -> Table | None:
    """Differences of the arms to the baseline's."""
    called = arm_names(c)
    rows = []
    for i, name in enumerate(called):
        if i != against.baseline and (d := against.by_arm[i]) is not None:
            whole, *rest = difference_cells(d)
            low = seeded(seed_differences(c, against, i))
            over = f"[{low.low:+.3f}, {low.high:+.3f}]" if low is not None and low.low is not None and low.high is not None else NONE
            rows.append((name, whole, over, *rest))
    notes = []
    if rows:
        notes.append("difference of the share of samples solved, run against the baseline's run of the same seed, task by task "
                     "[95% bootstrap over tasks]; over seeds: 95% Student; p: exact randomisation test over tasks, two-sided")  # fmt: skip
    notes += left_out(c, against)
    title = f"Against {called[against.baseline]} on {against.suite}, paired"
    columns = ("arm", "difference", "over seeds", "p", "better", "worse", "tasks")
    return Table(title, columns, tuple(rows), (True, *(False,) * 6), tuple(notes), "paired", against.suite) if notes else None


def speed(c: Comparison, speed: Speed) -> Table:
    """pass@1 of the arms at equal cost."""
    axes = [axis for axis, limit in speed.budgets.items() if limit > 0]
    columns = ("arm", *(text for axis in axes for text in (f"at {cost(speed.budgets[axis], axis)}", "mean")))
    rows = []
    for name, arm in zip(arm_names(c), c.arms, strict=True):
        cells = []
        for axis in axes:
            there = [at[axis] for r in arm.runs if (at := speed.at[r]) is not None]
            cells.append(interval(seeded(over_seeds([x.value for x in there if x.value is not None]))))
            mean = over_seeds([x.mean for x in there if x.mean is not None])
            cells.append(NONE if mean is None else f"{mean.mean:.3f}")
        rows.append((name, *cells))
    note = (f"means of each arm {SEEDS}; cost is everything but evaluation; mean: of the curve up to there. A dash: never measured, or "
            "stopped before")  # fmt: skip
    title = f"Learning speed: pass@1 of {speed.suite} at equal cost"
    return Table(title, columns, tuple(rows), (True, *(False,) * (len(columns) - 1)), (note,), "speed", speed.suite)


def reached(c: Comparison, speed: Speed) -> list[Table]:
    """What it cost to reach round levels of pass@1, and the baseline's last value: a table per axis, none where no curve moves."""
    base = c.arms[c.against[0].baseline if c.against else 0]
    ends = over_seeds([speed.curves[r][-1].value for r in base.runs if len(speed.curves[r]) > 1])
    marks = {f"{level:g}": level for level in levels(speed.curves)}
    if ends is not None and len(c.arms) > 1:
        marks[f"{ends.mean:.3f} (end of {arm_names(c)[c.arms.index(base)]})"] = ends.mean
    out = []
    for axis in AXES if marks else ():
        rows = []
        for name, arm in zip(arm_names(c), c.arms, strict=True):
            curves = [speed.curves[r] for r in arm.runs if len(speed.curves[r]) > 1]
            rows.append((name, *(_median([first_at(x, level, axis) for x in curves], axis) for level in marks.values())))
        unit = "Generated tokens" if axis == "tokens" else "Time"
        note = "when first measured at that level or above, without what evaluations took; a dash: not reached"
        if c.seeded:
            note += "; the median of an arm's runs, in brackets how many of them got there where not all did"
        title = f"{unit} to reach a pass@1 of {speed.suite}"
        columns = ("arm" if c.seeded else "run", *marks)
        out.append(Table(title, columns, tuple(rows), (True, *(False,) * len(marks)), (note,), "speed", speed.suite))
    return out


def _median(costs: Sequence[float | None], axis: str) -> str:
    """The median cost, runs that never got there counted as beyond all others."""
    got = sum(x is not None for x in costs)
    if not costs:
        return NONE
    middle = median_low([float("inf") if x is None else x for x in costs])
    shown = NONE if middle == float("inf") else number(round(middle)) if axis == "tokens" else duration(middle) if middle else "0 s"
    return f"{shown} ({got} of {len(costs)})" if 0 < got < len(costs) else shown


def cost(value: float, axis: str) -> str:
    """A budget in words."""
    return f"{number(value)} tokens" if axis == "tokens" else duration(value)


def seeded(over: OverSeeds | None) -> Estimate | None:
    """As an estimate that a table shows."""
    return None if over is None else Estimate(over.mean, over.low, over.high)
