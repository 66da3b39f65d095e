"""What a notebook or a prompt shows of a run: a few lines, or a small table in which everything is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report.read import RunData

CELL = 'style="text-align:left;white-space:nowrap;padding:2px 16px 2px 0"'
TITLE = 'style="text-align:left;font-weight:bold;padding:2px 0"'
SUITES = 6
"""Measured values that are shown."""


def facts(run: RunData) -> list[tuple[str, str]]:
    """(what, value) pairs, the most telling first."""
    from ..report import summary
    from ..report.numbers import duration, number
    from ..report.series import Metrics

    metrics = Metrics(run.lines)
    out = [("status", run.status), ("directory", str(run.root))]
    seed = run.spec.get("seed")
    if seed is not None:
        out.append(("seed", str(seed)))
    updates = run.lines[-1].updates if run.lines else 0
    seconds = sum(line.seconds for line in run.lines)
    out.append(("committed", f"{len(run.lines):,} stages, {updates:,} updates, {duration(seconds)} in stages"))
    for gain in [g for g in summary.gains(metrics) if g.metric == "pass@1"][:SUITES]:
        out.append((f"{gain.suite} {gain.metric}", _measured(gain.first) + (f" → {_measured(gain.last)}" if gain.times > 1 else "")))
    for series in metrics.named("rollout/reward"):
        ends = f"{number(series.first)} → {number(series.last)}" if len(series.points) > 1 else number(series.last)
        out.append((series.label.replace("rollout/reward", "reward"), ends))
    for evolved in summary.versions(run):
        out.append((evolved.name, f"{evolved.made:,} version{'' if evolved.made == 1 else 's'}, last {evolved.last}"))
    return out


def _measured(value: object) -> str:
    from ..report.summary import Measured

    assert isinstance(value, Measured)
    around = "" if value.low is None or value.high is None else f" [{value.low:.3f}, {value.high:.3f}]"
    return f"{value.value:.3f}{around}"


def text(run: RunData) -> str:
    """Plain lines for a prompt."""
    from ..report.samples import visible

    pairs = facts(run)
    width = max(len(name) for name, _ in pairs)
    return "\n".join([f"SavedRun {visible(run.name)}", *(f"  {visible(name):<{width}}  {visible(value)}" for name, value in pairs)])


def html(run: RunData) -> str:
    """A small table for a notebook."""
    return table(run.name, ("", ""), facts(run), heads=False)


def table(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], heads: bool = True) -> str:
    """An HTML table: cells are text, whatever they hold."""
    from ..report.samples import visible

    def cell(value: str, tag: str) -> str:
        scope = ' scope="col"' if tag == "th" and heads else ' scope="row"' if tag == "th" else ""
        return f"<{tag}{scope} {CELL}>{escape(visible(value))}</{tag}>"

    top = f"<thead><tr>{''.join(cell(h, 'th') for h in header)}</tr></thead>" if heads else ""
    body = "".join("<tr>" + "".join(cell(v, "th" if i == 0 and not heads else "td") for i, v in enumerate(row)) + "</tr>" for row in rows)
    caption = f"<caption {TITLE}>{escape(visible(title))}</caption>"
    return f'<div style="overflow-x:auto"><table>{caption}{top}<tbody>{body}</tbody></table></div>'
