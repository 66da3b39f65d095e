"""From a composed config to plain values: pointers resolved, every mistake collected, and the way back to where a value was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..errors import nearest
from .problems import BROKEN, Notes, join

if TYPE_CHECKING:
    from omegaconf import DictConfig

_POINTER = re.compile(r"^\$\{([\w.]+)\}$")
_NAMES = re.compile(r"\$\{([\w.]+)\}")


class Origin:
    """Where a resolved value was written: `stages.train.optimizer.lr` under `optimizer: ${optimizer}` is `optimizer.lr`."""

    def __init__(self, unresolved: Mapping[Any, Any]):
        self.tree = unresolved

    def __call__(self, path: str) -> str:
        """The path a user wrote the value at."""
        keys = path.split(".")
        for _ in range(32):
            node: Any = self.tree
            for i, key in enumerate(keys):
                node = child(node, key)
                pointer = _POINTER.match(node) if isinstance(node, str) else None
                if pointer and self.holds(pointer[1]):
                    keys = pointer[1].split(".") + keys[i + 1 :]
                    break
            else:
                break
        return ".".join(keys)

    def holds(self, path: str) -> bool:
        """Whether the spec has something at a path (a pointer may point to nothing)."""
        node: Any = self.tree
        for key in path.split("."):
            node = child(node, key)
        return node is not None


def child(node: Any, key: str) -> Any:
    """The value under one key of a path, or None."""
    if isinstance(node, Mapping):
        return node.get(key)
    if isinstance(node, (list, tuple)) and key.isdigit() and int(key) < len(node):
        return node[int(key)]
    return None


def resolve(cfg: DictConfig, notes: Notes) -> dict[str, Any]:
    """The config as plain values. Pointers to nowhere, missing values (BROKEN in their place) and keys YAML misreads go to the notes."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    unresolved: Any = OmegaConf.to_container(cfg, resolve=False)
    _keys(unresolved, "", notes)
    try:
        whole = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)
        return _text_keys(whole)
    except OmegaConfBaseException:
        return _piecewise(cfg, unresolved, "", notes)


def _text_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _text_keys(v) for k, v in value.items()}
    return [_text_keys(v) for v in value] if isinstance(value, list) else value


def _piecewise(cfg: DictConfig, node: Any, path: str, notes: Notes) -> Any:
    """Resolve leaf by leaf, so that every bad one is reported."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    out: dict[str, Any] = {}
    for key, value in node.items():
        here = join(path, key)
        if isinstance(value, dict):
            out[str(key)] = _piecewise(cfg, value, here, notes)
            continue
        out[str(key)] = BROKEN
        if value == "???":
            notes.add(here, "required, but not given")
            continue
        try:
            found = OmegaConf.select(cfg, here, throw_on_missing=True, throw_on_resolution_failure=True)
            plain = OmegaConf.to_container(found, resolve=True, throw_on_missing=True) if OmegaConf.is_config(found) else found
            out[str(key)] = _text_keys(plain)
        except OmegaConfBaseException as error:
            _explain(cfg, value, here, error, notes)
    return out


def _explain(cfg: DictConfig, value: Any, path: str, error: Exception, notes: Notes) -> None:
    from omegaconf import OmegaConf

    tree = OmegaConf.to_container(cfg, resolve=False)
    for name in _NAMES.findall(str(value)):
        node: Any = tree
        for i, key in enumerate(keys := name.split(".")):
            below = child(node, key)
            if below is None and not (isinstance(node, Mapping) and key in node):
                known = node if isinstance(node, Mapping) else ()
                notes.add(path, f"${{{name}}} points to nothing: {'.'.join(keys[:i]) or 'the spec'} has no '{key}'{nearest(key, known)}")
                return
            node = below
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if str(value) and _POINTER.match(str(value)):
        return  # what it points to is wrong, and is reported where it stands
    notes.add(path, first)


def _keys(node: Any, path: str, notes: Notes) -> None:
    if isinstance(node, list):
        for i, item in enumerate(node):
            _keys(item, join(path, i), notes)
    if not isinstance(node, dict):
        return
    for key, value in node.items():
        if isinstance(key, bool):
            word = "on, yes or true" if key else "off, no or false"
            notes.add(join(path, str(key).lower()), f"YAML reads the key {word} as {str(key).lower()}, not as text; use another name")
        _keys(value, join(path, key), notes)


def read_scale(unresolved: Any) -> set[str]:
    """Names under `scale` that anything in the config reads."""
    if isinstance(unresolved, Mapping):
        return set().union(*(read_scale(v) for v in unresolved.values())) if unresolved else set()
    if isinstance(unresolved, (list, tuple)):
        return set().union(*(read_scale(v) for v in unresolved)) if unresolved else set()
    return set(re.findall(r"\bscale\.(\w+)", unresolved)) if isinstance(unresolved, str) and "${" in unresolved else set()
