"""Versions and aliases of a run that is not alive, from its manifest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from .. import loop as loops
from ..records import Version
from ..versions import BASE, FIRST, Lineages, from_line

if TYPE_CHECKING:
    from ..report.read import RunData


def names(run: RunData, group: str) -> list[str]:
    """Names under `policies` or `memories` of the spec; null takes a name out."""
    node = run.spec.get(group)
    return [str(name) for name, value in node.items() if value is not None] if isinstance(node, Mapping) else []


def lineages(run: RunData) -> Lineages:
    """Every version and where each alias points after the last commit. What a fork block moved is put back, unless it adopts."""
    out = Lineages()
    for group, kind in (("policies", "weights"), ("memories", "text")):
        for name in names(run, group):
            out.start(Version(name, FIRST, (), kind))  # type: ignore[arg-type]
    forks = _forks(run)
    for entry in run.manifest:
        kept = _private(entry["path"], forks)
        for version in map(from_line, entry.get("versions", ())):
            out.add(version, "" if version.name in kept else entry["stage"])
        for name, moved in entry.get("promotions", {}).items():
            for alias, version_id in moved.items():
                if name not in kept and alias != BASE:
                    out.promote(name, alias, version_id)
    return out


def _forks(run: RunData) -> dict[str, frozenset[str]]:
    """{block: what it works on copies of and drops at its end}."""
    stages = run.spec.get("stages")
    known = [*names(run, "policies"), *names(run, "memories")]
    root, _ = loops.parse(run.spec.get("loop") or {}, list(stages) if isinstance(stages, Mapping) else [], known)
    return {block.name: frozenset(block.fork) for block in root.blocks() if block.fork and not block.adopt}


def _private(path: str, forks: Mapping[str, frozenset[str]]) -> frozenset[str]:
    blocks = (re.sub(r"\.\d+$", "", segment) for segment in path.split("/"))
    return frozenset().union(*(forks.get(block, frozenset()) for block in blocks))


def kept(run: RunData, name: str) -> list[str]:
    """Ids of a policy's or memory's versions that are committed and on disk, oldest first. The base is not among them: it is what the
    spec names."""
    return list(dict.fromkeys(version for version, file in _files(run, name) if (run.root / file).is_file()))


def recorded(run: RunData, name: str, version: str) -> dict[str, str]:
    """{file: sha256} of a version's files, as the manifest recorded them."""
    found: dict[str, str] = {}
    for entry in run.manifest:
        found |= {file: sha for file, sha in entry.get("outputs", {}).items() if _version(file, name) == version}
    return found


def _files(run: RunData, name: str) -> Iterator[tuple[str, str]]:
    found = [(version, file) for entry in run.manifest for file in entry.get("outputs", {}) if (version := _version(file, name))]
    yield from sorted(found)


def _version(file: str, name: str) -> str:
    parts = file.split("/")
    return parts[2] if len(parts) > 3 and parts[0] in ("policies", "memories") and parts[1] == name else ""


def table(run: RunData, known: Lineages) -> list[dict[str, Any]]:
    """A row per version: name, version, kind, parents, made_by, updates (train stages committed by then), aliases, kept, info."""
    at = {(v["name"], v["id"]): line.updates for line in run.lines for v in line.entry.get("versions", ())}
    rows = []
    for name, versions in known.versions.items():
        there = set(kept(run, name))
        for version in versions.values():
            rows.append({
                "name": name, "version": version.id, "kind": version.kind, "parents": list(version.parents), "made_by": version.made_by,
                "updates": at.get((name, version.id), 0), "aliases": [a for a, v in known.aliases[name].items() if v == version.id],
                "kept": version.id == FIRST or version.id in there, "info": dict(version.info),
            })  # fmt: skip
    return rows
