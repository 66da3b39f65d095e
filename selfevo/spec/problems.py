"""Mistakes found while checking a spec: a path, a message, and what the checkers share about both."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import nearest


class Broken:
    """The type of BROKEN."""

    def __repr__(self) -> str:
        return "<broken>"


BROKEN: Any = Broken()
"""Stands in a resolved spec for a value whose mistake is already noted, so that nothing more is said about it."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: `path` is the dotted key it was found under ("" for the whole spec)."""

    path: str
    message: str


@dataclass(frozen=True, slots=True)
class Use:
    """A name that must exist elsewhere in the spec: `kind` is role, policy, memory, table, source, prompt, engine, stage or metric."""

    kind: str
    name: str
    path: str


@dataclass(slots=True)
class Notes:
    """What one walk over a spec collects: mistakes, and names to be looked up once everything is known."""

    problems: list[Problem] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)

    def add(self, path: str, message: str) -> None:
        """Record a mistake (the same one twice counts once)."""
        problem = Problem(path, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def unknown(self, path: str, key: Any, valid: Iterable[str]) -> None:
        """Record an unknown key of the mapping at `path`."""
        self.add(join(path, key), f"unknown key{nearest(str(key), valid)}")


def join(path: str, key: Any) -> str:
    """The path of `key` inside the mapping at `path`."""
    return f"{path}.{key}" if path else str(key)


def show(value: Any, limit: int = 60) -> str:
    """A value as an error names it: short, on one line, in YAML's words."""
    words = {True: "true", False: "false", None: "null"}
    if value is None or isinstance(value, bool):
        return words[value]
    if isinstance(value, Mapping):
        text = "{" + ", ".join(f"{k}: {show(v, 20)}" for k, v in value.items()) + "}"
    elif isinstance(value, (list, tuple)):
        text = "[" + ", ".join(show(v, 20) for v in value) + "]"
    else:
        text = repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 3] + "..."
