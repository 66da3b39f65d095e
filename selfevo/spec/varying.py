"""Numbers that vary: {linear: [a, b], over: n}, {cosine: [a, b]}, {metric: name, default: x}, {each: name}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from ..protocols import Varying
from .problems import Notes, Use, join, show

KINDS: tuple[Literal["linear", "cosine", "metric", "each"], ...] = ("linear", "cosine", "metric", "each")
_ALSO = {"linear": ("over",), "cosine": ("over",), "metric": ("default",), "each": ()}


def varying(node: Mapping[str, Any], path: str, notes: Notes) -> Varying | None:
    """The schedule or metric a node describes; mistakes go to the notes, and None comes back."""
    before = len(notes.problems)
    kinds = [k for k in KINDS if k in node]
    if len(kinds) != 1:
        for key in node:
            if key not in (*KINDS, "over", "default"):
                notes.unknown(path, key, (*KINDS, "over", "default"))
                return None
        notes.add(path, f"expected a number or one of {', '.join(KINDS)}, got {show(node)}")
        return None
    kind = kinds[0]
    for key in node:
        if key != kind and key not in _ALSO[kind]:
            notes.unknown(path, key, (kind, *_ALSO[kind]))
    points = node[kind] if kind in ("linear", "cosine") else ()
    if kind in ("linear", "cosine") and not _numbers(points, least=2):
        notes.add(join(path, kind), f"expected a list of two numbers or more, got {show(points)}")
    if kind in ("metric", "each") and not isinstance(node[kind], str):
        notes.add(join(path, kind), f"expected a name, got {show(node[kind])}")
    over, default = node.get("over"), node.get("default")
    if over is not None and (not isinstance(over, int) or isinstance(over, bool) or over < 1):
        notes.add(join(path, "over"), f"expected a number of iterations (1 or more), got {show(over)}")
    if default is not None and not _numbers([default]):
        notes.add(join(path, "default"), f"expected a number, got {show(default)}")
    if len(notes.problems) > before:
        return None
    if kind in ("metric", "each"):
        notes.uses.append(Use(kind, node[kind], join(path, kind)))
    return Varying(
        kind=kind,
        points=tuple(float(p) for p in points),
        over=over,
        metric=node[kind] if kind == "metric" else "",
        default=None if default is None else float(default),
        name=node[kind] if kind == "each" else path,  # its values are logged under this name
    )


def _numbers(values: Any, least: int = 1) -> bool:
    return (
        isinstance(values, (list, tuple))
        and len(values) >= least
        and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in values)
    )
