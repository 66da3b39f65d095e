"""Python values as overrides of a spec: what a call says becomes what one would have typed."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import UserError

Given = str | Mapping[str, Any]

PLAIN = re.compile(r"[A-Za-z_][\w./+@-]*", re.ASCII)
SPECIAL = ("null", "true", "false", "nan", "inf", "yes", "no", "on", "off")


def overrides(experiment: str | None, given: Sequence[Given], keys: Mapping[str, Any]) -> list[str]:
    """ "experiment=NAME", then what was given, then keyword arguments. Raises UserError for what cannot be an override."""
    out = [] if experiment is None else [experiment if "=" in experiment else f"experiment={experiment}"]
    for item in given:
        if isinstance(item, str):
            out.append(item)
        elif isinstance(item, Mapping):
            out += [line for key, value in item.items() for line in typed(str(key), value)]
        else:
            raise UserError(f"overrides: expected 'key=value' or a mapping of keys, got {item!r}")
    out += [line for key, value in keys.items() for line in typed(key, value)]
    for line in out:
        if re.match(r"[+~]*hydra[./=]", line):
            raise UserError(f"{line}: settings of Hydra belong to the command line; the directory of a run is dir=...")
    return out


def typed(key: str, value: Any) -> Iterator[str]:
    """One key as overrides. A mapping sets the keys below it (`optimizer={"lr": 1e-3}` is optimizer.lr=0.001), each with its whole
    value (`optimizer={"lr": {"linear": [1e-3, 0]}}`)."""
    if isinstance(value, Mapping) and value and not any(str(k).startswith("_") for k in value) and "." not in key:
        for below, held in value.items():
            yield f"{key}.{below}={written(held, f'{key}.{below}')}"
    else:
        yield f"{key}={written(value, key)}"


def written(value: Any, where: str) -> str:
    """A value in the grammar of overrides."""
    if hasattr(value, "item"):  # a number of numpy or torch
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value if PLAIN.fullmatch(value) and value.lower() not in SPECIAL else _quoted(value)
    if isinstance(value, Mapping):
        odd = next((k for k in value if not re.fullmatch(r"[\w./@-]+", str(k))), None)
        if odd is not None:
            raise UserError(f"{where}: a key may hold letters, digits and . _ / @ - only, got {odd!r}")
        return "{" + ", ".join(f"{k}: {written(v, where)}" for k, v in value.items()) + "}"
    if isinstance(value, (list, tuple, range)):
        return "[" + ", ".join(written(v, where) for v in value) + "]"
    if hasattr(value, "__fspath__"):
        return _quoted(str(value))
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {math.inf: "inf", -math.inf: "-inf"}.get(value, "nan")
    raise UserError(f"{where}: expected a number, text, list, mapping or None, got {type(value).__name__}")


def _quoted(text: str) -> str:
    """In single quotes: a quote is escaped, and so are the backslashes right before one or the end."""
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"
