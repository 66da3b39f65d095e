"""The settings in which runs differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .find import Found

MISSING = "–"


def differences(runs: Sequence[Found]) -> dict[str, list[str]]:
    """{setting: its value in each run} for what differs between them, the most telling first.

    What was given on the command line comes first, by the name it was given. A key of the specs comes after only if it says something
    that these do not: it is left out where its values follow from theirs (stages.train.optimizer.lr from optimizer.lr), and where
    another key has the same values in all runs (of those the one with the fewest parts stands for all).
    """
    given = _given(runs)
    seen = [tuple(column[i] for column in given.values()) for i in range(len(runs))]
    out = dict(given)
    told = {tuple(column) for column in given.values()}
    for key, column in sorted(spec_differences(runs).items(), key=lambda item: (item[0].count("."), len(item[0]))):
        values = tuple(column)
        if values in told or (given and _follows(values, seen)):
            continue
        told.add(values)
        out[key] = column
    return out


def spec_differences(runs: Sequence[Found]) -> dict[str, list[str]]:
    """Every key of the resolved specs whose value is not the same in all runs that have a spec; a dash where a run has no such key."""
    flat = [flatten(found.run.spec) if found.run is not None else None for found in runs]
    known = [f for f in flat if f is not None]
    keys = dict.fromkeys(k for f in known for k in f)
    differing = [k for k in keys if len({f.get(k, MISSING) for f in known}) > 1]
    return {k: [MISSING if f is None else f.get(k, MISSING) for f in flat] for k in differing}


def flatten(node: Any, path: str = "") -> dict[str, str]:
    """{dotted key: value as text} of the leaves of a spec; a list is a leaf."""
    if isinstance(node, Mapping) and node:
        return {k: v for key, value in node.items() for k, v in flatten(value, f"{path}.{key}" if path else str(key)).items()}
    return {path: text(node)}


def text(value: Any) -> str:
    """A value as YAML would have it in a line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(text, value)) + "]"
    return repr(value) if isinstance(value, float) else str(value)


def _given(runs: Sequence[Found]) -> dict[str, list[str]]:
    """Overrides that differ, by key; a key that some run was not given takes its value there from the spec."""
    told = [dict(_split(o) for o in found.overrides) for found in runs]
    columns = {}
    for key in dict.fromkeys(k for t in told for k in t):
        column = []
        for found, t in zip(runs, told, strict=True):
            spec = flatten(found.run.spec) if found.run is not None and key not in t else {}
            column.append(t.get(key, spec.get(key, MISSING)))
        if len(set(column)) > 1:
            columns[key] = column
    return columns


def _split(override: str) -> tuple[str, str]:
    key, _, value = override.lstrip("+").partition("=")
    return key, value


def _follows(values: Sequence[str], seen: Sequence[tuple[str, ...]]) -> bool:
    """Whether runs that were given the same have the same value."""
    known: dict[tuple[str, ...], str] = {}
    return all(known.setdefault(key, value) == value for key, value in zip(seen, values, strict=True))
