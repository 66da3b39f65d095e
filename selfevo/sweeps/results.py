"""What a sweep came to: a ranking and the effect of each key on the terminal, and the sweep's page."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SelfevoError
from .jobs import Jobs

if TYPE_CHECKING:
    from ..comparing.tables import Table
    from ..report.sweep import Sweep

SHOWN = 10
"""Runs of the ranking on the terminal; the page has all."""
KEYS = 8
"""Keys whose effect is told on the terminal."""


def say_results(jobs: Jobs) -> None:
    """Print the ranking, write the sweep's page and say where it is. The runs' own files are whole without it, so nothing that keeps it
    from being written ends the command: trouble is one line, Ctrl-C drops it."""
    from ..commands.plain import say

    if not jobs.begun:
        return
    try:
        print("\n".join(_results(jobs.sweep)), flush=True)
    except KeyboardInterrupt:
        return
    except BrokenPipeError:
        raise
    except (SelfevoError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        say(f"note: no page of the sweep: {first}; selfevo report {jobs.sweep} writes it", sys.stderr)


def _results(folder: Path) -> list[str]:
    from ..commands.plain import columns
    from ..comparing.show import as_text
    from ..report import sweep
    from ..report.page import render_sweep
    from ..report.write import NAME, put

    read = sweep.read(folder)
    tables = [*([ranking(read)] if read.metric is not None and len(read.runs) > 1 else []), *([effects(read)] if read.effects else [])]
    lines = [line for table in tables for line in ("", as_text(table, columns()))]
    return [*lines, *([""] if lines else []), f"report of the sweep: {put(folder / NAME, render_sweep(read))}"]


def ranking(sweep: Sweep) -> Table:
    """The best runs with their settings."""
    from ..comparing.measured import Estimate
    from ..comparing.tables import Table, clean, interval
    from ..report.numbers import short
    from ..report.parallel import heads

    good = sweep.ranked
    name = str(sweep.metric)
    told = any(r.status != "done" for r in good[:SHOWN])
    rows = []
    for place, r in enumerate(good[:SHOWN], 1):
        value = interval(Estimate(r.value if r.value is not None else 0.0, r.low, r.high))
        rows.append((r.label, str(place), value, *map(short, r.settings), *([r.status] if told else [])))
    left = len(sweep.runs) - len(good)
    notes = [f"and {len(good) - SHOWN} more, in the report"] if len(good) > SHOWN else []
    notes += [f"{left} run{'s' if left > 1 else ''} without a place: {_statuses(sweep)}"] if left else []
    columns = ("run", "place", name.rpartition("/")[2], *heads(sweep.keys), *(["status"] if told else []))
    sides = (True, False, False, *(True for _ in columns[3:]))
    title = f"Ranking by {name}, {'lowest' if sweep.lowest else 'highest'} first"
    return clean(Table(title, columns, tuple(rows), sides, tuple(notes)))


def effects(sweep: Sweep) -> Table:
    """Of each key the values with the best and the worst mean."""
    from ..comparing.tables import Table, clean
    from ..report.numbers import short

    rows = []
    for e in sweep.effects[:KEYS]:
        levels = sorted(e.levels, key=lambda v: v.mean if sweep.lowest else -v.mean)
        ends = (f"{short(v.value)}: {v.mean:.3f} ({v.runs} run{'s' if v.runs > 1 else ''})" for v in (levels[0], levels[-1]))
        rows.append((e.key, f"{e.span:.3g}", *ends))
    notes = [f"and {len(sweep.effects) - KEYS} keys more, in the report"] if len(sweep.effects) > KEYS else []
    columns = ("key", "means apart", "best", "worst")
    title = "Effect of each key: means over all runs with a value"
    return clean(Table(title, columns, tuple(rows), (True, False, True, True), tuple(notes)))


def _statuses(sweep: Sweep) -> str:
    counts = Counter(r.status for r in sweep.runs if not r.counts)
    return ", ".join(f"{n} {status}" for status, n in counts.items())
