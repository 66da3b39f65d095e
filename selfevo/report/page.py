"""The page: everything the report says, put into page.html.jinja."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import evolution, summary, vega
from .charts import sections
from .chosen import Browsed, browsed
from .entries import Entries
from .numbers import duration, number, share, short
from .read import RunData
from .samples import excerpts, visible
from .series import Metrics

if TYPE_CHECKING:
    from jinja2 import Environment

    from .sweep import Sweep

STATUS = {
    "done": "done", "running": "running: this page shows what is committed so far", "stopped": "stopped, can be resumed",
    "failed": "failed, can be resumed", "unfinished": "not finished",
}


@cache
def templates() -> Environment:
    """Templates beside this file. Everything put into them is escaped and made visible; an unknown name is an error."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    env = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                      lstrip_blocks=True, finalize=lambda value: visible(value) if type(value) is str else value)
    env.filters.update(number=number, duration=duration)
    env.globals.update(share=share, svg=vega.svg)
    return env


def render(run: RunData) -> str:
    """The whole page as HTML text."""
    here = Path(__file__).parent
    metrics, entries = Metrics(run.lines), Entries(run)
    total, stages = summary.times(run.lines)
    shown = sections(metrics, entries)
    with ThreadPoolExecutor(1) as pool:  # drawing leaves Python to this thread, which reads the tables meanwhile
        drawing = {id(c): pool.submit(vega.svg, c) for section in shown for c in section.charts}
        found = browsed(run, entries)
    drawn = {chart: picture.result() for chart, picture in drawing.items()}
    script = (here / "browser.js").read_text()
    return templates().get_template("page.html.jinja").render(
        run=run, status=STATUS.get(run.status, run.status), facts=facts(run, total.seconds), paper=paper(run.spec.get("paper")),
        log="" if run.status == "done" else run.log_tail, css=(here / "page.css").read_text() + (here / "browser.css").read_text(),
        script=script, policy=policy(script), held=held(found), missing=found.missing, browsed=found,
        sections=shown, svg=lambda c: drawn.get(id(c)) or vega.svg(c), metrics=metrics.all,
        memories=evolution.memories(run), pools=evolution.pools(run),
        gains=summary.gains(metrics), rewards=metrics.named("rollout/reward"), total=total, stages=stages,
        kinds=[kind for kind, seconds in total.by_kind.items() if seconds > 0],
        tokens=summary.tokens(run.lines), failures=summary.failures(run.lines), versions=summary.versions(run), excerpts=excerpts(run),
    )


def render_sweep(sweep: Sweep) -> str:
    """The page of a sweep as HTML text."""
    here = Path(__file__).parent
    css = (here / "page.css").read_text() + (here / "sweep.css").read_text()
    counts, failed = Counter(run.status for run in sweep.runs), [run for run in sweep.runs if run.status == "failed"]
    unranked = any(not run.counts and run.value is not None for run in sweep.runs)
    page = templates().get_template("sweep.html.jinja")
    return page.render(sweep=sweep, css=css, counts=counts, failed=failed, unranked=unranked, short=short)


def policy(script: str) -> str:
    """The page's Content-Security-Policy: nothing is loaded, and no script runs but this one."""
    sha = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{sha}'; base-uri 'none'; form-action 'none'"


def held(found: Browsed) -> str:
    """The browser's data as JSON in which no tag, comment or entity can begin."""
    rest = (f"The text of this trajectory is not in the page, which holds {len(found.details):,} of {found.index['total']:,}. "
            "selfevo watch DIR shows every one; the Parquet files in tables/ hold them.")
    data = {"index": found.index, "details": found.details, "rest": rest}
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


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
        ("threads", env.get("threads")), ("decode kernels", env.get("decode_kernels")), ("selfevo", env.get("selfevo")),
        ("python", env.get("python")), ("packages", ", ".join(f"{k} {v}" for k, v in packages.items()) or None),
        ("directory", run.root.name),
    ]
    return [(name, str(value)) for name, value in pairs if value is not None]


def paper(block: Any) -> list[tuple[str, list[str]]]:
    """The spec's paper block as (name, lines)."""
    if not isinstance(block, Mapping):
        return [("", [str(block)])] if block is not None else []
    return [(str(name), _lines(value)) for name, value in block.items() if value not in (None, [], {}, "")]


def _lines(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        return [f"{name}: {item}" for name, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [", ".join(_lines(item)) if isinstance(item, Mapping) else str(item) for item in value]
    return [str(value)]
