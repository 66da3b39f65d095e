"""Annotations: the shape of value they call for, and the words an error uses for them."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from typing import Any, Literal

from ..protocols import Varying

SEQUENCES = (list, tuple, set, frozenset, Sequence, Iterable, Set, Collection)
"""What YAML writes as a list."""

_VARIES = "{linear: [a, b]}, {cosine: [a, b]}, {metric: name}"


def plausible(value: Any, hint: Any) -> bool:
    """Whether a value has the shape of an annotation, before anything inside it is looked at."""
    if hint is Any:
        return True
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return plausible(value, args[0])
    if origin is Literal:
        return type(value) in map(type, args)
    if hint is None or hint is type(None):
        return value is None
    base = origin or hint
    if base is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if base in (str, int, bool):
        return isinstance(value, base) and not (isinstance(value, bool) and base is not bool)
    if not inspect.isclass(base):
        return True
    if issubclass(base, Mapping):
        return isinstance(value, Mapping) and "_target_" not in value
    if base in SEQUENCES:
        return isinstance(value, (list, tuple))
    return isinstance(value, Mapping)


def accepts_none(hint: Any) -> bool:
    """Whether null is a value of its own under this annotation."""
    return hint is Any or hint is None or hint is type(None) or type(None) in typing.get_args(hint)


def describe(hint: Any) -> str:
    """An annotation in the words an error uses."""
    words = {str: "text", int: "a whole number", float: "a number", bool: "true or false", type(None): "null", None: "null", Any: "a value"}
    try:
        if hint in words:
            return words[hint]
    except TypeError:
        return "a value"
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return describe(args[0])
    if origin in (typing.Union, types.UnionType):
        arms = [f"a number (or one that varies: {_VARIES})" if a is Varying else describe(a) for a in args]
        return " or ".join(dict.fromkeys(a for a in arms if not (a == "a number" and Varying in args)))
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    base = origin or hint
    if inspect.isclass(base) and issubclass(base, Mapping):
        return "a mapping" + (f" of {describe(args[1])}" if len(args) == 2 and args[1] is not Any else "")
    if base in SEQUENCES:
        return "a list" + (f" of {describe(args[0])}" if args and args[0] is not Any else "")
    if base is Varying:
        return _VARIES
    name = getattr(base, "__name__", str(base))
    if inspect.isclass(base) and dataclasses.is_dataclass(base):
        return f"the settings of a {name}"
    return f"{'an' if name[0] in 'AEIOU' else 'a'} {name} (a mapping with _target_)"
