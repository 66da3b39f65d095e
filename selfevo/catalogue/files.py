"""Config files as plain values: each read once, numbers as OmegaConf reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from ..errors import UserError
from ..packaged import configs

PACKAGE = re.compile(r"#\s*@package\s+(\S+)")
_FLOAT = re.compile(r"""^(?:[-+]?(?:[0-9][0-9_]*)\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?(?:[0-9][0-9_]*)(?:[eE][-+]?[0-9]+)
    |[-+]?\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$""", re.VERBOSE)  # fmt: skip


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML with `1e-4` as a number and dates as text."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:float")]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+0123456789."))


def value(text: str) -> Any:
    """What a typed override's value means."""
    plain = text.strip()
    if plain.lower().lstrip("+-") in ("inf", "nan"):
        return float(plain)
    return yaml.load(plain, Loader)


class File:
    """A config: its YAML (without `defaults`), its defaults list, its first comment line, and the package its header asks for."""

    def __init__(self, path: Path):
        self.path = path
        self.text = path.read_text()

    @cached_property
    def _whole(self) -> dict[Any, Any]:
        try:
            found = yaml.load(self.text, Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = "" if mark is None else f":{mark.line + 1}, column {mark.column + 1}"
            raise UserError(f"{self.path}{where}: not valid YAML: {error.problem}; mend the file") from error
        return found if isinstance(found, dict) else {}

    @cached_property
    def body(self) -> dict[Any, Any]:
        """Everything but the defaults list."""
        return {k: v for k, v in self._whole.items() if k != "defaults"}

    @property
    def defaults(self) -> list[Any]:
        """The defaults list as written."""
        return list(self._whole.get("defaults") or [])

    @cached_property
    def title(self) -> str:
        """The first comment's first line, and those after it up to where a sentence ends; package directives left out."""
        said: list[str] = []
        for line in self.text.splitlines():
            if not line.startswith("#") or (said and said[-1].endswith((".", ")", "`"))):
                break
            if not PACKAGE.match(line):
                said.append(line.lstrip("# ").rstrip())
        return " ".join(said)

    @property
    def package(self) -> str | None:
        """The header's package ("_global_"), or None."""
        match = PACKAGE.search(self.text, 0, 200)
        return match[1] if match else None


class Tree:
    """All config folders: those the user adds come first."""

    def __init__(self, config_dirs: Sequence[str] = ()):
        for folder in config_dirs:
            if not Path(folder).is_dir():
                raise UserError(f"--config-dir {folder}: no such folder; give one that holds groups, such as {folder}/experiment/mine.yaml")
        self.roots = [*map(Path, config_dirs), configs()]
        self._files: dict[str, File | None] = {}

    def file(self, name: str) -> File | None:
        """The config "group/choice", or None."""
        if name not in self._files:
            found = (root / f"{name}.yaml" for root in self.roots)
            self._files[name] = next((File(path) for path in found if path.is_file()), None)
        return self._files[name]

    def groups(self) -> list[str]:
        """Names of the config groups."""
        return sorted({p.name for root in self.roots for p in root.iterdir() if p.is_dir() and not p.name.startswith((".", "_"))})

    def choices(self, group: str) -> list[str]:
        """Names of a group's configs, folders in it included."""
        return sorted(set(self._choices(group)))

    def _choices(self, group: str) -> Iterator[str]:
        for root in self.roots:
            for path in (root / group).rglob("*.yaml"):
                yield path.relative_to(root / group).with_suffix("").as_posix()

    def title(self, group: str, choice: str) -> str:
        """The first comment line of a choice."""
        found = self.file(f"{group}/{choice}")
        return "" if found is None else found.title
