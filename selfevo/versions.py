"""Which versions exist and which alias points where: plain bookkeeping, rebuilt from manifest lines on resume."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .errors import UserError, nearest
from .records import Version

BASE = "base"
FIRST = "000000"


@dataclass
class Lineages:
    """Versions (a DAG per name) and aliases of every policy and memory.

    Making a version is not promoting it: `add` records it, `promote` moves an alias. `base` never moves; a stage's name is an alias
    for the last version that stage made.
    """

    versions: dict[str, dict[str, Version]] = field(default_factory=dict)
    aliases: dict[str, dict[str, str]] = field(default_factory=dict)

    def start(self, version: Version) -> None:
        """Register the first version of a name as `base`, `start` and `current`."""
        self.versions[version.name] = {version.id: version}
        self.aliases[version.name] = {BASE: version.id, "start": version.id, "current": version.id}

    def add(self, version: Version, stage: str = "") -> None:
        """Record a version; `stage` becomes an alias for it. Raises ValueError when the id is taken or a parent is unknown."""
        known = self.versions[version.name]
        if version.id in known:
            raise ValueError(f"version {version.ref} exists already")
        for parent in version.parents:
            if parent not in known:
                raise ValueError(f"version {version.ref} has an unknown parent {parent!r}")
        known[version.id] = version
        if stage:
            self.aliases[version.name][stage] = version.id

    def promote(self, name: str, alias: str, version_id: str) -> None:
        """Move an alias. `base` cannot move."""
        if alias == BASE:
            raise UserError(f"{name}@{BASE}: the base version cannot be moved; promote to another alias")
        if version_id not in self.versions[name]:
            raise ValueError(f"{name} has no version {version_id!r}")
        self.aliases[name][alias] = version_id

    def resolve(self, name: str, alias: str = "current") -> Version:
        """The version an alias or id means. Raises UserError with the nearest name."""
        if name not in self.versions:
            raise UserError(f"{name}@{alias}: no policy or memory is named '{name}'{nearest(name, self.versions)}")
        version_id = self.aliases[name].get(alias, alias)
        if version_id not in self.versions[name]:
            raise UserError(f"{name}@{alias}: no such version{nearest(alias, [*self.aliases[name], *self.versions[name]])}")
        return self.versions[name][version_id]

    def next_id(self, name: str) -> str:
        """The id a new version of `name` gets: a count, so it is the same in a resumed run."""
        return f"{len(self.versions[name]):06d}"

    def current(self) -> dict[str, str]:
        """{name: id of its current version}."""
        return {name: aliases["current"] for name, aliases in self.aliases.items()}

    def ancestors(self, version: Version) -> list[str]:
        """Ids of everything a version descends from, nearest first."""
        out: list[str] = []
        todo: list[str] = list(version.parents)
        while todo:
            parent = todo.pop(0)
            if parent not in out:
                out.append(parent)
                todo += self.versions[version.name][parent].parents
        return out

    def updates(self, name: str, older: str, newer: str) -> int | None:
        """Updates from version `older` of `name` to `newer` on the shortest way; None when `newer` does not descend from it."""
        count, level = 0, {newer}
        while level:
            if older in level:
                return count
            count, level = count + 1, {p for v in level if v in self.versions[name] for p in self.versions[name][v].parents}
        return None


def to_line(versions: Iterable[Version]) -> list[dict[str, object]]:
    """Versions as JSON-able values for a manifest line."""
    return [
        {"name": v.name, "id": v.id, "parents": list(v.parents), "kind": v.kind, "made_by": v.made_by, "info": dict(v.info)}
        for v in versions
    ]


def from_line(line: Mapping[str, object]) -> Version:
    """The inverse of one item of `to_line`."""
    return Version(**{**line, "parents": tuple(line["parents"])})  # type: ignore[arg-type]
