"""The page of a comparison: the tables of `selfevo compare` and what they say as pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..comparing import arm_tables
from ..comparing.comparison import Against, Comparison, Speed, pooled
from ..comparing.learning import arm_curves, axes
from ..comparing.measured import Estimate, questions
from ..comparing.tables import Table, arm_names, tables
from .figures import Chart, Curve, drawn
from .page import templates
from .rows import Bars, Dot, Dots, bars
from .write import put

ROWS = 40
"""Most rows of a drawing with one per arm."""
CURVES = 8
"""Most curves of a drawing: more cannot be told apart."""
TASKS = 12
"""Most arms whose tasks are drawn one by one."""
LISTED = 10
"""Tasks named among those most won, and among those most lost."""
WIDE = 24
"""Most arms side by side in the table of the specs."""
ROOM = 40
"""Longest name of a run in the page."""
AXES = {"updates": "updates", "evaluations": "evaluations before", "tokens": "generated tokens", "seconds": "seconds"}


@dataclass(frozen=True)
class Named:
    """A task of which one side solved more: its question, and the samples that solved it of all, as text."""

    question: str
    ours: str
    theirs: str
    difference: float


@dataclass(frozen=True)
class Duel:
    """An arm against the baseline, task by task."""

    arm: str
    picture: Bars
    won: tuple[Named, ...]
    lost: tuple[Named, ...]


@dataclass(frozen=True)
class Part:
    """What the page says of one suite under one heading; `words` where something is missing or left out."""

    suite: str
    figures: tuple[Chart | Dots, ...]
    tables: tuple[Table, ...]
    duels: tuple[Duel, ...] = ()
    words: tuple[str, ...] = ()


def write(comparison: Comparison, page: Path) -> Path:
    """Write the page; returns its path. Raises StoreError where it cannot be written."""
    return put(page, render(comparison))


def render(c: Comparison) -> str:
    """The page as HTML text."""
    c = replace(c, room=ROOM)
    here, told = Path(__file__).parent, tables(c)

    def of(topic: str, suite: str = "") -> tuple[Table, ...]:
        return tuple(t for t in told if (t.topic, t.suite) == (topic, suite))

    css = (here / "page.css").read_text() + (here / "compare.css").read_text()
    return templates().get_template("compare.html.jinja").render(
        c=c, css=css, title=title(c), runs=of("runs"), spec=spec(c), cost=of("cost"),
        baseline=arm_names(c)[c.against[0].baseline] if c.against else None,
        results=[results(c, suite, of("results", suite)) for suite in c.suites],
        paired=[part for against in c.against if (part := paired(c, against, of("paired", against.suite)))],
        speed=[speeds(c, speed, of("speed", speed.suite)) for speed in c.speeds],
    )  # fmt: skip


def title(c: Comparison) -> str:
    """The experiments' names, as far as there are few."""
    names = list(dict.fromkeys(str(f.run.spec.get("name", f.label)) if f.run is not None else f.label for f in c.runs))
    return ", ".join(names) if len(names) <= 3 else f"{len(c.runs)} runs"


def spec(c: Comparison) -> Table | None:
    """Every key of the specs that differs between the arms, a column per arm; None where they are too many, or nothing differs."""
    called = arm_names(c)
    if not c.spec or len(called) > WIDE:
        return None
    rows = []
    for key, column in c.spec.items():
        rows.append((key, *(", ".join(dict.fromkeys(column[r] for r in arm.runs)) for arm in c.arms)))
    return Table("", ("key", *called), tuple(rows), (True,) * (len(called) + 1))


def results(c: Comparison, suite: str, told: tuple[Table, ...]) -> Part:
    """The final metrics of a suite, a drawing for each kind."""
    finals, called = arm_tables.finals(c, suite), arm_names(c)
    own = [mine[suite].estimates() if suite in mine else {} for mine in c.evaluations]
    figures, words = [], []
    for kind, column in finals.items():
        rows = []
        for name, arm, over in zip(called, c.arms, column, strict=True):
            alone = own[arm.runs[0]].get(kind) if len(arm.runs) == 1 else None
            estimate = alone if alone is not None else arm_tables.seeded(over)
            if estimate is not None:
                rows.append(_dot(name, estimate, over.values if over is not None else ()))
        if not rows:
            continue
        note = "mean of each arm, 95% Student interval over seeds; rings: its runs" if c.seeded else "95% bootstrap interval over tasks"
        shown, more = _some(rows)
        figures.append(Dots(f"{kind} on {suite}", note + more, shown, kind, None, len(rows) <= CURVES and len(rows) == len(called)))
    if any(len(arm.runs) == 1 for arm in c.arms) and c.seeded:
        words.append("The interval of an arm with a single run is a bootstrap over tasks: it says nothing about other seeds.")
    return Part(suite, tuple(figures[:4]), told, words=tuple(words))


def paired(c: Comparison, against: Against, told: tuple[Table, ...]) -> Part | None:
    """Differences to the baseline: of the arms, and of their tasks one by one."""
    if not told:
        return None
    called = arm_names(c)
    compared = [i for i, d in enumerate(against.by_arm) if d is not None]
    rows = []
    for i in compared:
        d, over = against.by_arm[i], arm_tables.seed_differences(c, against, i)
        assert d is not None
        rows.append(Dot(called[i], d.mean, d.low, d.high, over.values if over is not None else ()))
    figures: tuple[Dots, ...] = ()
    if rows:
        shown, more = _some(rows)
        note = "95% bootstrap interval over tasks" + ("; rings: the difference of each seed" if c.seeded else "") + more
        head = f"difference to {called[against.baseline]} on {against.suite}"
        figures = (Dots(head, note, shown, "difference of the share solved", 0.0),)
    best = sorted(compared, key=lambda i: -abs(against.by_arm[i].mean))[:TASKS]  # type: ignore[union-attr]
    words = [f"Task by task: the {TASKS} of {len(compared)} arms that differ most."] if len(compared) > TASKS else []
    return Part(against.suite, figures, told, tuple(duel(c, against, i) for i in sorted(best)), tuple(words))


def duel(c: Comparison, against: Against, number: int) -> Duel:
    """One arm against the baseline, the tasks it won and lost most clearly by name."""
    ours, theirs = pooled(c.arms[number], against, c.evaluations)
    rates = [{task: right / samples for task, (right, samples) in side.items()} for side in (ours, theirs)]
    change = {task: rates[0][task] - rates[1][task] for task in ours}
    order = sorted(change, key=lambda task: (-change[task], task))
    won = [t for t in order if change[t] > 0][:LISTED]
    lost = [t for t in reversed(order) if change[t] < 0][:LISTED]
    known: dict[str, str] = {}
    for run in c.arms[number].runs:
        missing = {t for t in (*won, *lost) if t not in known}
        if missing and against.by_run[run] is not None:
            known |= questions(c.evaluations[run][against.suite].table, missing, c.runs[run].root)
    called = arm_names(c)
    picture = bars(f"{called[number]} − {called[against.baseline]}", rates[0], rates[1], known)

    def named(tasks: Sequence[str]) -> tuple[Named, ...]:
        share = [{t: f"{side[t][0]} of {side[t][1]}" for t in tasks} for side in (ours, theirs)]
        return tuple(Named(known.get(t, t), share[0][t], share[1][t], change[t]) for t in tasks)

    return Duel(called[number], picture, named(won), named(lost))


def speeds(c: Comparison, speed: Speed, told: tuple[Table, ...]) -> Part:
    """Learning curves over updates, tokens and seconds."""
    called = arm_names(c)
    figures, words = [], []
    for axis in axes(speed):
        curves = arm_curves(c, speed, axis)
        if not curves:
            words.append(f"{speed.suite} was measured once in every run, so there is no learning curve; what the runs took is under Cost.")
            break
        base = c.against[0].baseline if c.against else 0
        kept = sorted(curves, key=lambda x: (x.arm != base, -x.points[-1][1]))[:CURVES]
        kept.sort(key=lambda x: x.arm)
        note = "shaded: lowest to highest of an arm's runs" if any(x.band for x in kept) else ""
        if len(kept) < len(curves):
            note = "; ".join(filter(None, (note, f"{len(kept)} of {len(curves)}: the baseline and the highest at their ends")))
        drawn_ = [Curve(called[x.arm], x.points, (), x.band) for x in kept]
        figures.append(drawn(f"pass@1 of {speed.suite} over {AXES[axis]}", drawn_, AXES[axis], note, axis in ("updates", "evaluations")))
    behind = {r for x in (arm_curves(c, speed, "tokens") if figures else ()) for r in x.used}
    left = [c.runs[r].label for r, points in enumerate(speed.curves) if points and r not in behind and figures]
    if left:
        words.append(f"Not in the curves, since they broke off or were measured once: {', '.join(left)}.")
    return Part(speed.suite, tuple(figures), told, words=tuple(words))


def _dot(label: str, estimate: Estimate, single: tuple[float, ...]) -> Dot:
    return Dot(label, estimate.value, estimate.low, estimate.high, single)


def _some(rows: Sequence[Dot]) -> tuple[tuple[Dot, ...], str]:
    """The highest and the lowest rows, in order, and words about those left out."""
    if len(rows) <= ROWS:
        return tuple(rows), ""
    order = sorted(rows, key=lambda r: -r.value)
    return (*order[: ROWS - 5], *order[-5:]), f"; {ROWS} of {len(rows)}: the highest {ROWS - 5} and the lowest 5"
