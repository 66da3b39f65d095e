"""docs/performance.md from the measured figures and the text in `performance.md` beside this file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "performance.md"


def number(x: float | None) -> str:
    """Three significant digits."""
    return "" if x is None else f"{x:.3g}"


def spread(f: dict[str, Any]) -> str:
    """Lowest to highest."""
    return "" if f["low"] is None else f"{f['low']:.3g} to {f['high']:.3g}"


def goal(f: dict[str, Any]) -> str:
    """The aim, "" where there is none."""
    return "" if f["aim"] is None else f"{'at least' if f['better'] == 'higher' else 'at most'} {f['aim']:g}"


def value(x: float | None, unit: str) -> str:
    """With its unit; short times in milliseconds."""
    if x is None:
        return ""
    return f"{x * 1e3:.3g} ms" if unit == "s" and x < 0.1 else f"{x:.4g} {unit}".strip()


def ratio(f: dict[str, Any]) -> str:
    """The ratio; "" where something stands beside nothing, and a word where nothing was measured."""
    return number(f["ratio"]) or ("not measured" if f["ours"] is None else "")


def table(figures: list[dict[str, Any]]) -> str:
    """A Markdown table of one topic, its notes below it."""
    lines = ["| what | beside | ratio | spread | aim | met | ours | peer |", "|---|---|---|---|---|---|---|---|"]
    notes: list[str] = []
    for f in figures:
        mark = {True: "yes", False: "**no**", None: ""}[f["met"]]
        what = f["what"]
        if f["note"]:
            if f["note"] not in notes:
                notes.append(f["note"])
            what += f" ({notes.index(f['note']) + 1})"
        cells = [what, f["beside"], ratio(f), spread(f), goal(f), mark]
        lines.append("| " + " | ".join([*cells, value(f["ours"], f["unit"]), value(f["peer"], f["unit"])]) + " |")
    return "\n".join(lines) + ("\n\n" + "\n".join(f"{i}. {note}." for i, note in enumerate(notes, 1)) if notes else "")


def machine(environment: dict[str, Any]) -> str:
    """What the figures were measured on."""
    shown = ("torch", "transformers", "trl")
    packages = ", ".join(f"{name} {environment['packages'][name]}" for name in shown)
    return f"{environment['cores']} cores of an {environment['processor']}; Python {environment['python']}, {packages}"


def render(results: dict[str, Any]) -> str:
    """The whole page; a topic that nobody has measured yet says so."""
    text = (HERE / "performance.md").read_text()
    text = text.replace("{{machine}}", machine(results["environment"]))
    known = results["figures"]
    return re.sub(r"\{\{table:(\w+)\}\}", lambda m: table(known[m[1]]) if m[1] in known else "Not measured yet.", text)


def write(results: Path) -> None:
    """Write the page."""
    PAGE.write_text(render(json.loads(results.read_text())))
    print(f"wrote {PAGE}")
