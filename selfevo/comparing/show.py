"""A comparison written out: for a terminal, as Markdown, as LaTeX, as CSV (a line per run), as JSON (everything)."""

from __future__ import annotations

import csv
import io
import json
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from . import arm_tables
from .comparison import Comparison
from .tables import Table, tables, widths

GAP = "  "
CELL = 34
"""Longest text of a cell; a longer one loses its middle."""


def terminal(comparison: Comparison, width: int = 80) -> str:
    """Tables in at most `width` columns. One that is wider goes on below, the runs' names repeated."""
    return "\n\n".join(as_text(table, width) for table in tables(comparison)) + "\n"


def markdown(comparison: Comparison) -> str:
    """The same tables for GitHub."""
    return "\n\n".join(map(_markdown, tables(comparison))) + "\n"


def latex(comparison: Comparison) -> str:
    """The same tables as LaTeX `table` environments; nothing beyond LaTeX itself is needed."""
    return "\n\n".join(map(_latex, tables(comparison))) + "\n"


def as_csv(comparison: Comparison) -> str:
    """One line per run: label, directory, status, error, every setting that differs, final metrics with intervals, cost."""
    c = comparison
    rows: list[dict[str, Any]] = []
    for i, found in enumerate(c.runs):
        row: dict[str, Any] = {"run": found.label, "directory": str(found.root), "status": found.status, "error": found.error}
        row |= {"arm": c.arms[c.arm_of(i)].label} if c.seeded else {}
        row |= {name: column[i] for name, column in c.settings.items()}
        for suite, evaluation in c.evaluations[i].items():
            for name, e in evaluation.estimates().items():
                row |= {f"{suite}/{name}": e.value, f"{suite}/{name}/low": e.low, f"{suite}/{name}/high": e.high}
        cost = c.costs[i]
        rows.append(row | (asdict(cost) if cost is not None else {}))
    out = io.StringIO()
    names = dict.fromkeys(name for row in rows for name in row)
    writer = csv.DictWriter(out, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_json(comparison: Comparison) -> str:
    """Everything, every differing key of the specs included."""
    c = comparison
    runs = []
    for i, found in enumerate(c.runs):
        results = {}
        for suite, evaluation in c.evaluations[i].items():
            estimates = {name: asdict(e) for name, e in evaluation.estimates().items()}
            where = {"path": evaluation.path, "stage": evaluation.stage}
            results[suite] = {**where, "estimates": estimates, "metrics": dict(evaluation.metrics)}
        cost = c.costs[i]
        runs.append({
            "run": found.label, "directory": str(found.root), "status": found.status, "error": found.error,
            "overrides": list(found.overrides), "settings": {name: column[i] for name, column in c.settings.items()},
            "results": results, "cost": None if cost is None else asdict(cost),
        })  # fmt: skip
    labels = [found.label for found in c.runs]
    arms = []
    for i, arm in enumerate(c.arms):
        mean = {suite: {kind: asdict(over) for kind, by in arm_tables.finals(c, suite).items() if (over := by[i]) is not None}
                for suite in c.suites}  # fmt: skip
        arms.append({"arm": arm.label, "runs": [labels[r] for r in arm.runs], "settings": dict(arm.settings), "results": mean})
    whole = {
        "runs": runs, "arms": arms, "spec_differences": c.spec,
        "speed": [{"suite": speed.suite, "budgets": speed.budgets, "at": dict(zip(labels, asdict(speed)["at"], strict=True)),
                   "curves": {label: [asdict(p) for p in curve] for label, curve in zip(labels, speed.curves, strict=True)}}
                  for speed in c.speeds],
        "paired": [
            {"suite": a.suite, "baseline": labels[c.arms[a.baseline].runs[0]],
             "differences": {label: asdict(d) | {"to": labels[to]}
                             for label, d, to in zip(labels, a.by_run, a.partner, strict=True) if d is not None and to is not None},
             "arms": {arm.label: asdict(d) for arm, d in zip(c.arms, a.by_arm, strict=True) if d is not None},
             "not_compared": {label: why for label, why in zip(labels, a.why, strict=True) if why}}
            for a in c.against
        ],
    }  # fmt: skip
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def as_text(table: Table, width: int) -> str:
    """One table in at most `width` columns."""
    rows = [[_short(cell) for cell in row] for row in table.rows]
    lines = [table.title]
    for block in _blocks(table, rows, width) if rows else ():
        if len(lines) > 1:
            lines.append("")
        sizes = [max(len(table.columns[i]), *(len(row[i]) for row in rows)) for i in block]
        lines.append(_line([table.columns[i] for i in block], sizes, [table.left[i] for i in block]))
        lines += [_line([row[i] for i in block], sizes, [table.left[i] for i in block]) for row in rows]
    for note in table.notes:
        lines += textwrap.wrap(note, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _blocks(table: Table, rows: Sequence[Sequence[str]], width: int) -> Iterator[list[int]]:
    """Columns that fit side by side, the first one in every block."""
    sizes = widths(table, rows)
    block, used = [0], sizes[0]
    for i in range(1, len(sizes)):
        if used + len(GAP) + sizes[i] > width and len(block) > 1:
            yield block
            block, used = [0], sizes[0]
        block.append(i)
        used += len(GAP) + sizes[i]
    yield block


def _line(cells: Sequence[str], sizes: Sequence[int], left: Sequence[bool]) -> str:
    padded = (cell.ljust(size) if start else cell.rjust(size) for cell, size, start in zip(cells, sizes, left, strict=True))
    return GAP.join(padded).rstrip()


def _short(text: str) -> str:
    half = (CELL - 3) // 2
    return text if len(text) <= CELL else f"{text[:half]}...{text[-half:]}"


def _markdown(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = "|" + "|".join(" --- |"[:-2] + (" " if left else ": ") for left in table.left) + "|"
    body = ["", line(table.columns), rule, *map(line, table.rows)] if table.rows else []
    return "\n".join([f"### {table.title}", *body, *(f"\n{note}" for note in table.notes)])


SPECIAL = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "–": "--", "<": r"\textless{}",
    ">": r"\textgreater{}", **{c: "\\" + c for c in "&%$#_{}"},
}  # fmt: skip


def _latex(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join("{" + "".join(SPECIAL.get(c, c) for c in cell) + "}" for cell in cells) + r" \\"

    title = "".join(SPECIAL.get(c, c) for c in table.title)
    notes = ["".join(SPECIAL.get(c, c) for c in note) + r"\par" for note in table.notes]
    columns = "".join("l" if left else "r" for left in table.left)
    body = [r"\hline", line(table.columns), r"\hline", *map(line, table.rows), r"\hline"]
    grid = [rf"\begin{{tabular}}{{{columns}}}", *body, r"\end{tabular}"] if table.rows else []
    head = [r"\begin{table}", rf"\caption{{{title}}}"]
    return "\n".join([*head, *grid, *([r"\par\footnotesize", *notes] if notes else []), r"\end{table}"])
