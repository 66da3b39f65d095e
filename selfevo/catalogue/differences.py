"""What an experiment sets: its keys beside those of another composition, as lines of `key: here, there`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

ABSENT = "(not there)"
LEFT_OUT = ("name", "paper", "reproduce", "prompts")
"""Keys that say what a run is called and reads; a diagram and other sections show the rest."""


def differences(one: Mapping[str, Any], other: Mapping[str, Any], skip: tuple[str, ...] = LEFT_OUT) -> list[tuple[str, str, str]]:
    """(key, value in `one`, value in `other`) of unresolved configs; a whole mapping that only one of them has is one line."""
    return list(_walk({k: v for k, v in one.items() if k not in skip}, {k: v for k, v in other.items() if k not in skip}, ""))


def _walk(one: Any, other: Any, path: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.get("_target_") == other.get("_target_"):
        for key in dict.fromkeys([*one, *other]):
            yield from _walk(one.get(key, ABSENT), other.get(key, ABSENT), f"{path}.{key}" if path else str(key))
    elif one != other:
        yield path, said(one), said(other)


def said(value: Any) -> str:
    """A value in few characters."""
    if value == ABSENT:
        return ABSENT
    if isinstance(value, Mapping):
        name = str(value.get("_target_", "")).rpartition(".")[2]
        inside = ", ".join(f"{k}: {said(v)}" for k, v in value.items() if k != "_target_")
        return f"{name}{{{inside}}}" if inside or not name else name
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(said, value))}]"
    return "null" if value is None else f"{value:g}" if isinstance(value, float) else str(value).replace("\n", " ")
