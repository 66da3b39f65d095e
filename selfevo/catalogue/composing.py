"""Defaults lists, followed as Hydra does: which file of each group takes part, and what they merge to."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError, nearest
from .files import File, Tree, value

BASE = "config"
POINTER = re.compile(r"^\$\{([\w.]+)\}$")
_NAMES = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class Part:
    """A file and the place its content goes to ("" is the top)."""

    file: File
    package: str


class Composition:
    """What `selfevo run OVERRIDES` composes: `choices` {group or group@package: choice}, `parts` in the order they merge.

    Overrides choose groups or set keys, as on the command line; sweeps, globs and deletions (`~`) are not read. Raises UserError for a
    group or a config that is not there.
    """

    def __init__(self, tree: Tree, overrides: Sequence[str] = ()):
        self.tree = tree
        self.choices: dict[str, str] = {}
        self._said: dict[str, str | None] = {}
        self._typed: list[tuple[str, Any]] = []
        extra: list[tuple[str, str]] = []
        known = set(tree.groups())
        for text in overrides:
            name, _, chosen = text.lstrip("+").partition("=")
            if name in ("experiment", "scale"):
                extra.append((name, chosen))
            elif name.partition("@")[0] in known:
                self._said[name] = None if chosen == "null" else chosen
            else:
                self._typed.append((name, value(chosen)))
        extra.sort(key=lambda pair: pair[0] != "experiment")
        self.parts = list(self._root(extra))

    def _root(self, extra: Sequence[tuple[str, str]]) -> Iterator[Part]:
        base = self.tree.file(BASE)
        assert base is not None, "the packaged configs have a config.yaml"
        yield from self._expand(base, "", "", extra)

    def _expand(self, file: File, group: str, package: str, extra: Sequence[tuple[str, str]] = ()) -> list[Part]:
        """The parts of a file and of what its defaults name. Later entries are read first: their overrides rule over earlier ones."""
        entries = [*file.defaults, *({name: chosen} for name, chosen in extra)]
        for entry in entries:
            for key, chosen in entry.items() if isinstance(entry, Mapping) else ():
                if str(key).startswith("override "):
                    self._said.setdefault(str(key).removeprefix("override ").strip().lstrip("/"), chosen)
        if "_self_" not in entries:
            entries.append("_self_")
        out: list[list[Part]] = []
        for entry in reversed(entries):
            if entry == "_self_":
                out.append([Part(file, package)])
            elif isinstance(entry, str):
                out.append(self._named(entry, group, package, file))
            else:
                for key, chosen in entry.items():
                    if not str(key).startswith("override "):
                        out.append(self._chosen(str(key).removeprefix("optional "), chosen, group, package, file))
        return [part for parts in reversed(out) for part in parts]

    def _named(self, entry: str, group: str, package: str, by: File) -> list[Part]:
        name = entry.lstrip("/") if entry.startswith("/") else f"{group}/{entry}".lstrip("/")
        file = self._file(name, by)
        inside = name.rpartition("/")[0]
        own = "" if inside == group or not entry.startswith("/") else inside.replace("/", ".")
        return self._expand(file, inside, _joined(package, own, file))

    def _chosen(self, key: str, chosen: Any, group: str, package: str, by: File) -> list[Part]:
        name, at, place = key.partition("@")
        inside = name.lstrip("/") if name.startswith("/") else f"{group}/{name}".lstrip("/")
        full = inside + (at + _joined(package, place, None) if at else "")
        picked = self._said.get(full, chosen)
        if inside.startswith("hydra/") or picked is None:
            return []
        self.choices[full] = str(picked)
        file = self._file(f"{inside}/{picked}", by)
        deeper = f"{inside}/{picked}".rpartition("/")[0]
        return self._expand(file, deeper, _joined(package, place or inside.replace("/", "."), None if at else file))

    def _file(self, name: str, by: File) -> File:
        file = self.tree.file(name)
        if file is None:
            group, _, choice = name.partition("/")
            hint = nearest(choice, self.tree.choices(group)) if group in self.tree.groups() else nearest(group, self.tree.groups())
            raise UserError(f"{group}: no choice '{choice}', which {by.path.name} asks for{hint}")
        return file

    def merged(self) -> dict[str, Any]:
        """The composed config with its pointers as they are, Hydra's own settings left out."""
        out: dict[str, Any] = {}
        for part in self.parts:
            body: Any = {k: v for k, v in part.file.body.items() if k != "hydra"}
            for key in reversed(part.package.split(".") if part.package else []):
                body = {key: body}
            _merge(out, body, out)
        for key, given in self._typed:
            node: Any = {}
            *above, last = key.split(".")
            inner = node
            for name in above:
                inner = inner.setdefault(name, {})
            inner[last] = given
            if isinstance(given, Mapping):
                _clear(out, [*above, last])
            _merge(out, node, out)
        return out

    def resolved(self) -> dict[str, Any]:
        """The composed config with its pointers replaced by what they point to."""
        whole = self.merged()
        return {str(k): _resolve(v, whole, 0) for k, v in whole.items()}


def _joined(package: str, own: str | None, file: File | None) -> str:
    header = None if file is None else file.package
    if header == "_global_" or own == "_global_":
        return ""
    return ".".join(p for p in (package, header or own) if p)


def _merge(into: dict[str, Any], new: Mapping[Any, Any], whole: dict[str, Any]) -> None:
    for key, given in new.items():
        there = into.get(key)
        if isinstance(given, Mapping) and isinstance(there, str) and (match := POINTER.match(there)):
            target = _at(whole, match[1])
            there = into[key] = copy.deepcopy(target) if isinstance(target, dict) else {}
        if isinstance(given, Mapping) and isinstance(there, dict):
            _merge(there, given, whole)
        else:
            into[key] = copy.deepcopy(given)


def _clear(tree: dict[str, Any], keys: Sequence[str]) -> None:
    """A typed mapping that names a component replaces what was there, but where it adds to a component of the same kind."""
    node: Any = tree
    for key in keys[:-1]:
        node = node.get(key) if isinstance(node, dict) else None
    if isinstance(node, dict) and not isinstance(node.get(keys[-1]), dict):
        node.pop(keys[-1], None)


def _at(tree: Any, path: str) -> Any:
    for key in path.split("."):
        tree = tree.get(key) if isinstance(tree, Mapping) else tree[int(key)] if isinstance(tree, list) and key.isdigit() else None
    return tree


def _resolve(node: Any, whole: Mapping[str, Any], depth: int) -> Any:
    if isinstance(node, Mapping):
        return {str(k): _resolve(v, whole, depth) for k, v in node.items()}
    if isinstance(node, list):
        return [_resolve(v, whole, depth) for v in node]
    if not isinstance(node, str) or "${" not in node or depth > 32:
        return node
    if match := POINTER.match(node):
        return _resolve(_follow(whole, match[1], depth), whole, depth + 1)
    return _NAMES.sub(lambda m: str(_resolve(_follow(whole, m[1], depth), whole, depth + 1)), node)


def _follow(whole: Mapping[str, Any], path: str, depth: int) -> Any:
    """What stands at a path, through pointers on the way."""
    node: Any = whole
    for key in path.split("."):
        if isinstance(node, str) and (match := POINTER.match(node)) and depth < 32:
            node = _follow(whole, match[1], depth + 1)
        node = node.get(key) if isinstance(node, Mapping) else node[int(key)] if isinstance(node, list) and key.isdigit() else None
    return node
