"""Memory: named text resources, versioned exactly like weights; Memories: all memories of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import UserError, nearest
from ..records import Version
from .files import Files, check, digest

FIRST_ALIASES = ("base", "current", "start")
"""Aliases that a new memory's first version carries."""


class Memory:
    """The evolvable text behind one name: its immutable versions (a DAG) and the aliases that point at them.

    `files` is always the text of alias `current`. Making a version (`add`) moves no alias; `promote` does. An optimizer for text
    gets this object as its target, as one for weights gets a `LivePolicy`.

    name: what the spec calls it ("skills").
    files: texts of the first version "000000", which `base`, `current` and `start` point at.
    """

    def __init__(self, name: str, files: Files | None = None):
        self.name = name
        self._files: dict[str, dict[str, str]] = {}
        self._versions: dict[str, Version] = {}
        self._aliases: dict[str, str] = {}
        first = self.add(files or {}, parents=())
        for alias in FIRST_ALIASES:
            self._aliases[alias] = first.id

    @property
    def files(self) -> Files:
        """Texts of `current`."""
        return self.at("current")

    @property
    def version(self) -> Version:
        """The version that `current` points at."""
        return self.resolve("current")

    @property
    def versions(self) -> tuple[Version, ...]:
        """Every version, in the order they were made."""
        return tuple(self._versions.values())

    @property
    def aliases(self) -> Mapping[str, str]:
        """Alias to version id."""
        return dict(self._aliases)

    def resolve(self, ref: str = "current") -> Version:
        """The version behind an alias, an id ("000003") or either with the name before it ("skills@current").

        Raises UserError with the nearest valid choice when there is none.
        """
        name, at, key = ref.rpartition("@")
        if at and name != self.name:
            raise UserError(f"'{ref}' is not a version of memory '{self.name}'")
        version = self._versions.get(self._aliases.get(key, key))
        if version is None:
            raise UserError(f"memory '{self.name}' has no version '{key}'{nearest(key, [*self._aliases, *self._versions])}")
        return version

    def at(self, ref: str = "current") -> Files:
        """Texts of a version, as `resolve` finds it."""
        return dict(self._files[self.resolve(ref).id])

    def digest(self, ref: str = "current") -> str:
        """Digest of a version's texts."""
        return digest(self._files[self.resolve(ref).id])

    def add(
        self, files: Files, parents: tuple[str, ...] | None = None, made_by: str = "", info: Mapping[str, str] | None = None
    ) -> Version:
        """A new version holding `files`; no alias moves. `parents` are refs, by default (`current`,)."""
        texts = check(files, f"memory '{self.name}'")
        ids = tuple(self.resolve(p).id for p in (("current",) if parents is None else parents))
        version = Version(self.name, f"{len(self._versions):06d}", ids, "text", made_by, dict(info or {}))
        self._versions[version.id] = version
        self._files[version.id] = texts
        return version

    def promote(self, ref: str, alias: str = "current") -> Version:
        """Point `alias` at a version; returns it. An alias may not look like a version id."""
        if not alias or alias.isdigit() or "@" in alias:
            raise UserError(f"memory '{self.name}': '{alias}' cannot be an alias; expected a word such as 'current' or 'best'")
        version = self.resolve(ref)
        self._aliases[alias] = version.id
        return version

    def ancestors(self, ref: str = "current") -> list[Version]:
        """The version and everything it descends from, each once, newest first (ids only ever count up)."""
        todo, found = [self.resolve(ref).id], set[str]()
        while todo:
            at = todo.pop()
            if at not in found:
                found.add(at)
                todo.extend(self._versions[at].parents)
        return [self._versions[i] for i in sorted(found, reverse=True)]

    def fork(self) -> Memory:
        """An independent copy: what is added to or promoted in it never shows in this one."""
        copy = Memory.__new__(Memory)
        copy.name = self.name
        copy._files, copy._versions, copy._aliases = dict(self._files), dict(self._versions), dict(self._aliases)
        return copy

    def state_dict(self) -> dict[str, Any]:
        """JSON-able: versions with the digests of their texts, and aliases. The texts themselves are saved once per version."""
        versions = [
            {"id": v.id, "parents": list(v.parents), "made_by": v.made_by, "info": dict(v.info), "digest": digest(self._files[v.id])}
            for v in self.versions
        ]
        return {"name": self.name, "versions": versions, "aliases": dict(sorted(self._aliases.items()))}

    @classmethod
    def restore(cls, state: Mapping[str, Any], read: Callable[[str], Files]) -> Memory:
        """The memory of a `state_dict`; `read(version id)` gives a version's texts (`files.read` of its folder).

        Raises ValueError when a text is not the one that was saved.
        """
        memory = cls.__new__(cls)
        memory.name, memory._files, memory._versions, memory._aliases = str(state["name"]), {}, {}, dict(state["aliases"])
        for saved in state["versions"]:
            texts = check(read(saved["id"]), f"memory '{memory.name}'")
            if digest(texts) != saved["digest"]:
                raise ValueError(f"memory '{memory.name}': the texts of version {saved['id']} are not the ones that were saved")
            version = Version(memory.name, saved["id"], tuple(saved["parents"]), "text", saved["made_by"], dict(saved["info"]))
            memory._versions[version.id], memory._files[version.id] = version, texts
        return memory


class Memories(Mapping[str, Memory]):
    """All memories of a run by name; versions are named "skills@current" across them."""

    def __init__(self, memories: Mapping[str, Memory]):
        self._memories = dict(memories)

    def __getitem__(self, name: str) -> Memory:
        if name not in self._memories:
            raise UserError(f"no memory '{name}'{nearest(name, self._memories)}")
        return self._memories[name]

    def __contains__(self, name: object) -> bool:
        return name in self._memories

    def __iter__(self) -> Iterator[str]:
        return iter(self._memories)

    def __len__(self) -> int:
        return len(self._memories)

    def resolve(self, ref: str) -> Version:
        """The version behind "skills@best" or "skills" (its `current`)."""
        name, _, key = ref.partition("@")
        return self[name].resolve(key or "current")

    def at(self, ref: str) -> Files:
        """Texts of the version behind "skills@best" or "skills"."""
        name, _, key = ref.partition("@")
        return self[name].at(key or "current")
