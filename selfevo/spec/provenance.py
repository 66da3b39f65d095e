"""Which file and line a key was written at: for error messages only, so it reads the files again when asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .sources import Configs, short


class Provenance:
    """Answers `where(path)` for a composed config; "" for what the command line set or no file holds."""

    def __init__(self, tree: Configs, overrides: Sequence[str], assigned: Sequence[str] = ()):
        self.tree, self.overrides, self.assigned = tree, list(overrides), set(assigned)
        self._files: list[tuple[Path, tuple[str, ...]]] | None = None

    def __call__(self, path: str) -> str:
        """"configs/optimizer/dapo.yaml:7", the last file that sets the key or the nearest mapping around it."""
        keys = path.split(".")
        if any(".".join(keys[:i]) in self.assigned for i in range(1, len(keys) + 1)):
            return ""
        if self._files is None:
            self._files = self._load()
        for depth in range(len(keys), 0, -1):
            for file, package in reversed(self._files):
                line = find(file, package, keys[:depth])
                if line is not None:
                    return f"{short(file)}:{line}"
        return ""

    def _load(self) -> list[tuple[Path, tuple[str, ...]]]:
        """Files of the composition in merge order, each with the package its keys go under."""
        from hydra.types import RunMode

        repo = self.tree.repository(self.overrides)
        defaults = self.tree.loader.compute_defaults_list(self.tree.base, self.overrides, RunMode.RUN).defaults
        out = []
        for default in defaults:
            loaded = repo.load_config(default.config_path)
            if loaded is None or not str(loaded.path).startswith("file://"):
                continue
            folder = Path(str(loaded.path).removeprefix("file://"))
            package = () if default.package in (None, "", "_global_") else tuple(default.package.split("."))
            out.append((folder / f"{default.config_path}.yaml", package))
        return out


def find(file: Path, package: tuple[str, ...], keys: Sequence[str]) -> int | None:
    """The line (from 1) on which a file sets a key whose full path is `keys`; None when it does not."""
    import yaml

    if tuple(keys[: len(package)]) != package or not file.is_file():
        return None
    node: Any = yaml.compose(file.read_text(), Loader=yaml.SafeLoader)
    line = 1
    for key in keys[len(package) :]:
        if isinstance(node, yaml.SequenceNode) and key.isdigit() and int(key) < len(node.value):
            node = node.value[int(key)]
            line = node.start_mark.line + 1
            continue
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        match = next(((k, v) for k, v in pairs if k.value == key), None)
        if match is None:
            return None
        line, node = match[0].start_mark.line + 1, match[1]
    return line
