"""Exploration and exploitation: how much the policy can still find, and how much of what it finds is right."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from .entries import Entries, Part
from .figures import Chart, Curve, Heat, drawn
from .series import Metrics, Point, Series

if TYPE_CHECKING:
    import numpy as np

COLUMNS = 60
"""Most columns of a heat map: of a longer run each stands for several executions."""
ROWS = 24
"""Most categories or levels of a heat map, the most frequent ones."""


def pass_at_k(metrics: Metrics, suite: str) -> Chart | None:
    """pass@k over k at the first and the last evaluation; None where fewer than two k were measured."""
    by_stage: dict[str, list[tuple[int, Series]]] = {}
    for series in metrics.all:
        match = re.fullmatch(rf"eval/{re.escape(suite)}/pass@(\d+)", series.metric)
        if match:
            by_stage.setdefault(series.stage, []).append((int(match[1]), series))
    curves = []
    for stage, found in by_stage.items():
        found.sort(key=lambda pair: pair[0])
        if len(found) < 2:
            continue
        for name, at in (("first", 0), ("last", -1))[: 1 if len(found[0][1].points) == 1 else 2]:
            label = f"{name} ({found[0][1].points[at].path})" + (f", {stage}" if len(by_stage) > 1 else "")
            curves.append(Curve(label, tuple((float(k), s.points[at].value) for k, s in found)))
    return drawn(f"pass@k on {suite} over k", curves, "k") if curves else None


def groups(entries: Entries) -> list[Series]:
    """What became of the groups of every rollout, from its table: one series per number and stage, named `groups/...`.

    Of groups with at least two judged trajectories (a reward of at least 0.5 solves): `groups/some`, `groups/all`, `groups/mixed`: the
    shares solved by some, by all, by some but not all of them. `groups/distinct`: distinct answers per answer given, where the verifier
    noted answers. `groups/precision`: of the trajectories that solve, the share whose answer equals the task's reference as text: below 1
    where the reward is fooled (or where equal answers are written differently).
    """
    found: dict[tuple[str, str], list[Point]] = {}
    for part in entries.parts:
        if part.line.kind == "rollout" and part.rows:
            for name, value in shares(part).items():
                found.setdefault((name, part.line.stage), []).append(Point(part.line.updates, value, part.line.path))
    stages = {stage for _, stage in found}
    return [Series(stage, name, tuple(points), name.rpartition("/")[2] + (f" ({stage})" if len(stages) > 1 else ""))
            for (name, stage), points in found.items()]


def shares(part: Part) -> dict[str, float]:
    """The numbers of one table; see `groups`."""
    import numpy as np

    out: dict[str, float] = {}
    judged = ~np.isnan(part.columns["reward"])
    inverse, n = _numbered(part.columns["group"][judged])
    right = np.bincount(inverse, part.columns["reward"][judged] >= 0.5, n)
    size = np.bincount(inverse, minlength=n)
    several = size > 1
    if several.any():
        some, every = right[several] > 0, right[several] == size[several]
        out |= {"groups/some": float(some.mean()), "groups/all": float(every.mean()), "groups/mixed": float((some & ~every).mean())}
    answered = part.columns["answer"] >= 0
    if answered.any():
        group, answer = part.columns["group"][answered], part.columns["answer"][answered]
        pairs = np.unique(np.stack([group, answer]), axis=1)
        inverse, n = _numbered(group)
        given, distinct = np.bincount(inverse, minlength=n), np.bincount(_numbered(pairs[0])[0], minlength=n)
        if (given > 1).any():
            out["groups/distinct"] = float((distinct[given > 1] / given[given > 1]).mean())
    accepted = answered & (part.columns["reference"] >= 0) & (np.nan_to_num(part.columns["reward"], nan=0.0) >= 0.5)
    if accepted.any():
        out["groups/precision"] = float((part.columns["answer"] == part.columns["reference"])[accepted].mean())
    return out


def heats(entries: Entries) -> list[Heat]:
    """Which categories and levels each rollout stage worked on, over its executions; nothing where there was but one."""
    stages: dict[str, list[Part]] = {}
    for part in entries.parts:
        if part.line.kind == "rollout" and part.rows:
            stages.setdefault(part.line.stage, []).append(part)
    out = []
    names = entries.names("category")
    for stage, parts in stages.items():
        of = f" of {stage}" if len(stages) > 1 else ""
        levels = sorted({float(v) for p in parts for v in _present(p.columns["level"])})
        if len(levels) > 1:
            out.append(_heat(f"levels{of}", parts, "level", [(f"level {v:g}", v) for v in levels]))
        codes = sorted({int(v) for p in parts for v in _present(p.columns["category"])})
        if len(codes) > 1:
            out.append(_heat(f"categories{of}", parts, "category", [(names[c] or "(none)", c) for c in codes]))
    return out


def _heat(title: str, parts: Sequence[Part], column: str, wanted: Sequence[tuple[str, float]]) -> Heat:
    import numpy as np

    width = -(-len(parts) // COLUMNS)
    bins = [parts[i : i + width] for i in range(0, len(parts), width)]
    counts = np.zeros((len(wanted), len(bins)))
    for b, some in enumerate(bins):
        values = np.concatenate([p.columns[column] for p in some])
        counts[:, b] = [(values == v).sum() for _, v in wanted]
    totals, note = counts.sum(0), "share of the trajectories, stronger where it is larger"
    if len(wanted) > ROWS:
        note += f"; the {ROWS} most frequent of {len(wanted)}"
        kept = sorted(np.argsort(-counts.sum(1), kind="stable")[:ROWS].tolist())
        counts, wanted = counts[kept], [wanted[i] for i in kept]
    values_ = tuple(tuple(float(v) / t if t else None for v, t in zip(row, totals, strict=True)) for row in counts.tolist())
    marks = tuple(str(i * width) if width == 1 else f"{i * width}–{min(len(parts), (i + 1) * width) - 1}" for i in range(len(bins)))
    return Heat(title, note, tuple(name for name, _ in wanted), marks, values_, "executions of the stage before")


def _present(values: np.ndarray) -> Iterable[float]:
    import numpy as np

    found: list[float] = np.unique(values[~np.isnan(values)] if values.dtype.kind == "f" else values).tolist()
    return found


def _numbered(values: np.ndarray) -> tuple[np.ndarray, int]:
    import numpy as np

    found, inverse = np.unique(values, return_inverse=True)
    return inverse, len(found)
