"""The page: everything the report says, put into page.html.jinja."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import summary
from .charts import sections
from .numbers import duration, number, share
from .read import RunData
from .samples import excerpts
from .series import Metrics

if TYPE_CHECKING:
    from jinja2 import Environment

STATUS = {
    "done": "done", "running": "running: this page shows what is committed so far", "stopped": "stopped, can be resumed",
    "failed": "failed, can be resumed", "unfinished": "not finished",
}


@cache
def templates() -> Environment:
    """Templates beside this file. Everything put into them is escaped; an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True)
    env.filters.update(number=number, duration=duration)
    env.globals.update(share=share)
    return env


def render(run: RunData) -> str:
    """The whole page as HTML text."""
    metrics = Metrics(run.lines)
    total, stages = summary.times(run.lines)
    return templates().get_template("page.html.jinja").render(
        run=run, status=STATUS.get(run.status, run.status), facts=facts(run, total.seconds), paper=paper(run.spec.get("paper")),
        log="" if run.status == "done" else run.log_tail, css=(Path(__file__).parent / "page.css").read_text(),
        sections=sections(metrics), metrics=metrics.all,
        gains=summary.gains(metrics), rewards=metrics.named("rollout/reward"), total=total, stages=stages,
        kinds=[kind for kind, seconds in total.by_kind.items() if seconds > 0],
        tokens=summary.tokens(run.lines), failures=summary.failures(run.lines), versions=summary.versions(run), excerpts=excerpts(run),
    )


def facts(run: RunData, seconds: float) -> list[tuple[str, str]]:
    """The header's (name, value) pairs; what the directory does not tell is left out."""
    env = run.environment
    commit = env.get("commit")
    if commit and run.changed_lines:
        commit = f"{commit[:12]} with {run.changed_lines:,} uncommitted lines (code.diff)"
    elif commit:
        commit = commit[:12]
    packages = env.get("packages", {})
    cores = f"{env['cores']} cores" if "cores" in env else None
    machine = ", ".join(str(x) for x in (env.get("processor"), cores, env.get("platform")) if x)
    pairs = [
        ("seed", run.spec.get("seed")), ("time in stages", duration(seconds) if run.lines else None),
        ("committed stages", f"{len(run.lines):,}" if run.lines else None), ("commit", commit), ("machine", machine or None),
        ("threads", env.get("threads")), ("selfevo", env.get("selfevo")), ("python", env.get("python")),
        ("packages", ", ".join(f"{k} {v}" for k, v in packages.items()) or None), ("directory", run.root.name),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None]


def paper(block: Any) -> list[tuple[str, list[str]]]:
    """The spec's paper block as (name, lines)."""
    if not isinstance(block, Mapping):
        return [("", [str(block)])] if block is not None else []
    return [(str(name), _lines(value)) for name, value in block.items() if value is not None]


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}: {item}" for name, item in value.items()]
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else [str(value)]
