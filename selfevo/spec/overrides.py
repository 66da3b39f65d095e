"""Overrides of the command line, checked before Hydra sees them, so that a mistake is one line that names the nearest valid choice.

A key that a constructor accepts may be set although no YAML file mentions it; a group may be chosen whether or not the base config
lists it. Hydra asks for prefixes in these cases; here they are put in front for the user.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from ..errors import nearest
from .problems import Problem
from .resolve import child
from .sources import Configs, choices, groups

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_LAST = "scale"
_FIRST = "experiment"
_SCHEMA = ("scale", "checkpoint")


@dataclass(slots=True)
class Prepared:
    """`hydra` are the overrides for Hydra (sweeps kept); `groups` and `values` what they choose and set, with the first value of every
    sweep; `assigned` the keys given a value; `problems` what was wrong; `cfg` the config that comes out."""

    cfg: Any = None
    hydra: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    values: list[str] = field(default_factory=list)
    assigned: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def prepare(tree: Configs, overrides: Sequence[str], multirun: bool = False) -> Prepared:
    """Overrides as Hydra wants them, and every mistake in them; mistaken ones are left out."""
    out = Prepared()
    repo = tree.repository(overrides)
    listed = {d.group for d in repo.load_config(tree.base).defaults_list if getattr(d, "group", None) is not None}
    known, listing = groups(repo), cache(partial(choices, repo))
    chosen: list[tuple[str, str]] = []
    values: list[Override] = []
    for text in overrides:
        parsed = _parse(text, multirun, out.problems)
        if parsed is None:
            continue
        key = parsed.key_or_group
        if key == "hydra" or key.startswith(("hydra.", "hydra/")):
            out.hydra.append(text)
            if key == "hydra.searchpath":
                out.groups.append(text)
        elif parsed.package is not None or (repo.group_exists(key) and not _assigns(parsed)):
            if _choice(parsed, listing(key) if repo.group_exists(key) else None, known, out.problems):
                chosen.append((_prefixed(parsed, listed), _prefixed(parsed, listed, _first(parsed, listing(key)))))
        else:
            values.append(parsed)
    chosen.sort(key=lambda pair: _rank(pair[0]))
    whole = [plain for _, plain in chosen if "@" not in plain]
    chosen = [_placed(tree, pair, whole) for pair in chosen]
    out.hydra += [text for text, _ in chosen]
    out.groups += [text for _, text in chosen]
    wrong = bool(out.problems)
    out.cfg = tree.compose(out.groups if multirun else out.hydra)
    if not wrong:  # without a group that was asked for, nothing can be said about keys
        _values(values, known, out)
        tree.assign(out.cfg, out.values)
    return out


def _parse(text: str, multirun: bool, problems: list[Problem]) -> Override | None:
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        hint = "expected key=value" if "=" not in text else "the value cannot be read; put quotes around text with special characters"
        problems.append(Problem("", f"{text}: {hint}"))
        return None
    if parsed.is_sweep_override() and not multirun:
        problems.append(Problem(parsed.key_or_group, f"several values ({text.partition('=')[2]}) are a sweep, which needs -m"))
        return None
    return parsed


def _assigns(parsed: Override) -> bool:
    """Whether `group={...}` or a number assigns a value rather than choosing a config."""
    return isinstance(parsed._value, (dict, int, float)) and not isinstance(parsed._value, bool)


def _text(parsed: Override) -> str:
    """The value as it was typed."""
    return (parsed.input_line or "").partition("=")[2]


def _options(parsed: Override) -> list[str]:
    """Every value of an override as text; globs as they are."""
    if not parsed.is_sweep_override():
        return [_text(parsed)]
    if parsed.is_discrete_sweep() and parsed.value_type is not None and parsed.value_type.name != "GLOB_CHOICE_SWEEP":
        return [str(value) for value in parsed.sweep_string_iterator()]
    return []


def _first(parsed: Override, valid: Sequence[str] = ()) -> str:
    """The first value of a sweep, or the value."""
    options = _options(parsed)
    if options:
        return options[0]
    value: Any = parsed._value
    if hasattr(value, "include"):  # a glob
        return next((c for c in valid if any(fnmatch(c, g) for g in value.include) and not any(fnmatch(c, g) for g in value.exclude)), "")
    return str(getattr(value, "start", value))


def _choice(parsed: Override, valid: Sequence[str] | None, known: Sequence[str], problems: list[Problem]) -> bool:
    """Whether every chosen config of a group exists."""
    if valid is None:
        problems.append(Problem(parsed.key_or_group, f"no such config group{nearest(parsed.key_or_group, known)}"))
        return False
    good = True
    for option in [] if parsed.is_delete() or parsed._value is None else _options(parsed):
        for name in option.strip("[]").split(","):
            if name.strip() not in (*valid, "null"):
                problems.append(Problem(parsed.key_or_group, f"no choice '{name}'{nearest(name, valid)}"))
                good = False
    return good


def _prefixed(parsed: Override, listed: set[str], value: str | None = None) -> str:
    """The choice of a group, appended to the defaults where the base config does not list the group."""
    key = parsed.key_or_group + (f"@{parsed.package}" if parsed.package is not None else "")
    text = _text(parsed) if value is None else value
    if parsed.is_delete():
        return f"~{key}"
    plus = parsed.is_add() if parsed.package is not None else parsed.key_or_group not in listed
    return f"{'+' if plus else ''}{key}={text}"


def _placed(tree: Configs, pair: tuple[str, str], whole: Sequence[str]) -> tuple[str, str]:
    """`model@policies.judge=small` changes an entry of the defaults that has this package, or else is appended to them."""
    from hydra.errors import HydraException
    from hydra.types import RunMode

    if "@" not in pair[0].partition("=")[0] or pair[0].startswith(("+", "~")):
        return pair
    try:
        tree.loader.compute_defaults_list(tree.base, [*whole, pair[1]], RunMode.RUN)
        return pair
    except HydraException:
        return f"+{pair[0]}", f"+{pair[1]}"


def _rank(text: str) -> int:
    """Appended groups merge in order: the experiment first, sizes last, so that they rule over it."""
    key = text.lstrip("+~").partition("=")[0]
    return 0 if key == _FIRST else 2 if key == _LAST else 1


def _values(values: Sequence[Override], known: Sequence[str], out: Prepared) -> None:
    """Hold every key=value against the config that the groups compose to."""
    from omegaconf import OmegaConf

    cfg = OmegaConf.to_container(out.cfg, resolve=False)
    for parsed in values:
        key, text = parsed.key_or_group, _text(parsed)
        parent, missing = _deepest(cfg, key, out.assigned)
        prefix = "" if missing is None and not isinstance(parsed.value(), dict) else "++"  # a mapping given whole may hold new keys
        if isinstance(parent, str):
            above = key[: len(key) - len(missing or "") - 1]
            out.problems.append(Problem(key, f"{above} is {parent}; set {parent[2:-1]}.{missing} instead"))
            continue
        if missing is not None and (parsed.is_delete() or not (parsed.is_add() or parsed.is_force_add() or _schema(parent, key))):
            depth = len(key.split(".")) - len(missing.split("."))
            path = ".".join(key.split(".")[: depth + 1])
            valid = [*parent, *known] if depth == 0 else list(parent)
            out.problems.append(Problem(path, f"unknown key{nearest(path.rpartition('.')[2], valid)}"))
            continue
        if parsed.is_delete():
            out.hydra.append(parsed.input_line or f"~{key}")
            out.values.append(f"~{key}")
            continue
        out.assigned.append(key)
        out.hydra.append(f"{prefix}{key}={text}")
        out.values.append(f"{prefix}{key}={_first(parsed)}")


def _deepest(cfg: Any, key: str, added: Sequence[str]) -> tuple[Any, str | None]:
    """The deepest mapping on the way to a key, and the rest of the way (None when the key is there, or was `added` before)."""
    if any(key == a or key.startswith(a + ".") or a.startswith(key + ".") for a in added):
        return {}, None
    node, keys = cfg, key.split(".")
    for i, k in enumerate(keys):
        if isinstance(node, str) and node.startswith("${"):
            return node, ".".join(keys[i:])
        if not (isinstance(node, Mapping) and k in node) and child(node, k) is None:
            return node if isinstance(node, Mapping) else {}, ".".join(keys[i:])
        node = child(node, k)
    return node if isinstance(node, Mapping) else {}, None


def _schema(parent: Any, key: str) -> bool:
    """Whether the check knows the valid keys of this mapping (a component, stage, role, block or sizes) and will judge the new one."""
    top = key.partition(".")[0]
    return "_target_" in parent or "kind" in parent or top in _SCHEMA or {"roles": "policy", "loop": "do"}.get(top) in parent
