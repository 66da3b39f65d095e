"""What a constructor accepts: its parameters with resolved annotations, found without importing anything heavy."""

from __future__ import annotations

import collections.abc
import importlib
import importlib.util
import inspect
import pkgutil
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from types import ModuleType
from typing import Any

from .. import protocols, records
from ..errors import UserError, nearest

_NAMES: dict[str, Any] = {**vars(collections.abc), **vars(typing), **vars(records), **vars(protocols)}
"""Names an annotation may use although its module imports them for type checkers only."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One keyword of a constructor. `key` is its name in YAML: `from_` is written `from`."""

    key: str
    name: str
    hint: Any
    required: bool


@dataclass(frozen=True, slots=True)
class Signature:
    """The parameters of a constructor by YAML key. `open` constructors (with **kwargs) take any key."""

    parameters: Mapping[str, Parameter]
    open: bool


@cache
def signature(target: Callable[..., Any]) -> Signature:
    """The signature of a class or factory. Annotations that cannot be resolved here are taken as Any."""
    function = target.__init__ if inspect.isclass(target) else target
    scope = {**_NAMES, **getattr(inspect.unwrap(function), "__globals__", {})}
    out: dict[str, Parameter] = {}
    is_open = False
    for p in inspect.signature(target).parameters.values():
        if p.kind is p.VAR_KEYWORD:
            is_open = True
        if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL):
            continue
        key = p.name.removesuffix("_")
        out[key] = Parameter(key, p.name, resolve(p.annotation, scope), p.default is p.empty)
    return Signature(out, is_open)


def resolve(annotation: Any, scope: Mapping[str, Any]) -> Any:
    """The object behind an annotation; Any for what names something only type checkers import."""
    if annotation is inspect.Parameter.empty:
        return Any
    if isinstance(annotation, typing.ForwardRef):
        annotation = annotation.__forward_arg__
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, dict(scope))  # the text of an annotation in our own or a plugin's source
    except (NameError, AttributeError, TypeError):
        return Any


@cache
def locate(target: str) -> Any:
    """The class or factory that `_target_` names. Raises UserError with the nearest name."""
    module_name, _, name = target.rpartition(".")
    if not module_name:
        raise UserError(f"'{target}' is no import path (expected package.module.Class)")
    module = _module(module_name, target)
    if not hasattr(module, name):
        public = [n for n, v in vars(module).items() if not n.startswith("_") and inspect.isclass(v)]
        raise UserError(f"'{module_name}' has no '{name}'{nearest(name, public)}")
    found = getattr(module, name)
    if not callable(found):
        raise UserError(f"'{target}' is a {type(found).__name__}, not a class or a factory")
    return found


def _module(name: str, target: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise UserError(f"'{target}' needs the package '{error.name}', which is not installed") from error
    parent, _, last = name.rpartition(".")
    if not parent:
        raise UserError(f"'{target}': no package '{name}' is installed; install it, or name its folder in PYTHONPATH")
    package = _module(parent, target)
    inside = [m.name for m in pkgutil.iter_modules(getattr(package, "__path__", []))]
    classes = [n for n, v in vars(package).items() if inspect.isclass(v) and not n.startswith("_")]
    raise UserError(f"'{parent}' has no module '{last}'{nearest(last, inside or classes)}")


def methods(protocol: type) -> list[str]:
    """Names of the methods that an object of a protocol must have."""
    names: set[str] = set()
    for base in protocol.__mro__:
        if getattr(base, "_is_protocol", False) and base is not typing.Protocol:
            names |= {n for n, v in vars(base).items() if inspect.isfunction(v) and (n == "__call__" or not n.startswith("_"))}
    return sorted(names)
