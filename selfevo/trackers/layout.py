"""The report's sections and charts, over the names that trackers were given."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..report.charts import sections
from ..report.read import Line
from ..report.series import Metrics
from ..view import committed
from .names import Names

GROUPS = {
    "groups solved (share)": r"^groups/(some|all|mixed)( \(|$)", "distinct answers per answer": r"^groups/distinct( \(|$)",
    "reward precision": r"^groups/precision( \(|$)",
}  # fmt: skip
"""Charts that the report draws from tables."""


def layout(root: Path, spec: Mapping[str, Any], groups: bool) -> dict[str, dict[str, list[Any]]]:
    """{section: {chart: ["Multiline", names] or ["Margin", [name, low, high]]}} of a run so far, as torch's `custom_scalars` takes it.
    `groups`: whether what became of the groups was logged too."""
    lines = committed(root)
    names, of = Names(spec), dict[tuple[str, str], str]()
    for line in lines:
        for metric, (name, _) in zip(line["metrics"], names.scalars(line), strict=True):
            of[metric, line["stage"]] = name
    updates, read = 0, []
    for line in lines:
        updates += line["kind"] == "train"
        read.append(Line(line["path"], line["stage"], line["kind"], line["iteration"], updates, line["seconds"], line["metrics"], {}))
    out: dict[str, dict[str, list[Any]]] = {}
    for section in sections(Metrics(read)):
        for title, series in section.sources:
            found = [of[s.metric, s.stage] for s in series]
            margin = len(series) == 3 and [s.metric.rpartition("/")[2] for s in series[1:]] == ["low", "high"]
            out.setdefault(section.title, {})[title] = ["Margin", found] if margin else ["Multiline", [_exactly(n) for n in found]]
    if groups and any(line["kind"] == "score" for line in lines):
        out.setdefault("Exploration and exploitation", {}).update({t: ["Multiline", [pattern]] for t, pattern in GROUPS.items()})
    return out


def _exactly(name: str) -> str:
    """A name as TensorBoard takes tags in a chart of several lines: a regular expression that must match it."""
    return f"^{re.escape(name)}$"
