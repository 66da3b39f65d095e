"""Binding: plain YAML values meet the annotations of a constructor, and become the objects it expects.

One walk serves checking and building: it collects every mistake with its path, and builds what has none.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, Literal

from ..errors import UserError, nearest
from ..protocols import Varying
from .hints import SEQUENCES, accepts_none, describe, plausible
from .problems import BROKEN, Notes, Use, join, show
from .refs import Ref
from .signatures import Signature, locate, methods, resolve, signature
from .varying import varying

BAD: Any = object()
"""Stands for a value that could not be bound; its mistakes are in the notes."""

_STATE = ("state_dict", "load_state_dict")
"""Methods that only what has a state needs."""


class Binder:
    """Binds values to annotations. With `construct` False nothing is built: components are only held against their constructors."""

    def __init__(self, notes: Notes, construct: bool = True):
        self.notes, self.construct = notes, construct

    def bind(self, value: Any, hint: Any, path: str) -> Any:
        """The value as the annotation wants it, or BAD."""
        if value is BROKEN:
            return BAD
        if hint is Any or isinstance(hint, typing.TypeVar):
            return self._free(value, path)
        hint = resolve(hint, vars(typing))
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            bound = self.bind(value, args[0], path)
            self._refer(bound, hint.__metadata__, path)
            return bound
        if origin in (typing.Union, types.UnionType):
            return self._union(value, hint, path)
        if origin is Literal:
            return value if value in args and type(value) in map(type, args) else self._choice(value, args, path)
        if hint is None or hint is type(None):
            return None if value is None else self._wrong("null", value, path)
        base = origin or hint
        if base in (str, int, float, bool):
            return self._scalar(value, base, path)
        if inspect.isclass(base) and issubclass(base, Mapping):
            return self._mapping(value, hint, path)
        if inspect.isclass(base) and base in SEQUENCES:
            return self._sequence(value, hint, path)
        if inspect.isclass(base):
            return self._object(value, base, path)
        return self._free(value, path)

    def component(self, node: Mapping[str, Any], path: str, hint: type | None = None) -> Any:
        """What the node's `_target_` makes of its other keys, or BAD. `hint` is a class or protocol it must satisfy."""
        target = node["_target_"]
        if not isinstance(target, str):
            return self._wrong("an import path such as selfevo.rollouts.Single", target, join(path, "_target_"))
        try:
            cls = locate(target)
        except UserError as error:
            self.notes.add(join(path, "_target_"), str(error))
            return BAD
        if hint is not None and not self._fits(cls, hint, path):
            return BAD
        return self.call(cls, {k: v for k, v in node.items() if k != "_target_"}, path)

    def call(self, cls: Any, given: Mapping[str, Any], path: str) -> Any:
        """Bind the keys to the constructor and call it; BAD when anything is wrong."""
        sig = signature(cls)
        kwargs = self.arguments(sig, given, path)
        if kwargs is BAD or not self.construct:
            return BAD
        try:
            made = cls(**kwargs)
        except UserError as error:
            for line in str(error).splitlines():
                self.notes.add(path, line)
            return BAD
        except (ValueError, ImportError) as error:
            self.notes.add(path, str(error).splitlines()[0] if str(error) else type(error).__name__)
            return BAD
        for need in getattr(made, "needs", ()):
            self._needs(need, path)
        return made

    def arguments(self, sig: Signature, given: Mapping[str, Any], path: str) -> Any:
        """Keyword arguments for a signature, or BAD."""
        good, kwargs = True, {}
        for key, value in given.items():
            parameter = sig.parameters.get(str(key))
            if parameter is None and not sig.open:
                self.notes.unknown(path, key, sig.parameters)
                good = False
                continue
            name, hint = (str(key), Any) if parameter is None else (parameter.name, parameter.hint)
            kwargs[name] = self.bind(value, hint, join(path, key))
            good = good and kwargs[name] is not BAD
        for parameter in sig.parameters.values():
            if parameter.required and parameter.key not in given:
                self.notes.add(join(path, parameter.key), f"required, but not given (expected {describe(parameter.hint)})")
                good = False
        return kwargs if good else BAD

    def _free(self, value: Any, path: str) -> Any:
        if value is BROKEN:
            return BAD
        if isinstance(value, Mapping):
            if "_target_" in value:
                return self.component(value, path)
            items = {k: self._free(v, join(path, k)) for k, v in value.items()}
            return BAD if any(v is BAD for v in items.values()) else items
        if isinstance(value, (list, tuple)):
            values = [self._free(v, join(path, i)) for i, v in enumerate(value)]
            return BAD if any(v is BAD for v in values) else values
        return value

    def _scalar(self, value: Any, base: type, path: str) -> Any:
        if base is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if isinstance(value, base) and not (isinstance(value, bool) and base is not bool):
            return value
        return self._wrong(describe(base), value, path)

    def _mapping(self, value: Any, whole: Any, path: str) -> Any:
        args = typing.get_args(whole)
        if not isinstance(value, Mapping) or "_target_" in value:
            return self._wrong(describe(whole), value, path)
        hint = args[1] if args else Any
        # A merged config cannot delete a key, so null takes an entry out, unless null is a value here.
        kept = {k: v for k, v in value.items() if v is not None or accepts_none(hint)}
        items = {str(k): self.bind(v, hint, join(path, k)) for k, v in kept.items()}
        return BAD if any(v is BAD for v in items.values()) else items

    def _sequence(self, value: Any, whole: Any, path: str) -> Any:
        base, args = typing.get_origin(whole) or whole, typing.get_args(whole)
        if not isinstance(value, (list, tuple)):
            return self._wrong(describe(whole), value, path)
        fixed = base is tuple and args and args[-1] is not Ellipsis
        if fixed and len(args) != len(value):
            return self._wrong(f"a list of {len(args)} values", value, path)
        hints = args if fixed else [args[0] if args else Any] * len(value)
        items = [self.bind(v, h, join(path, i)) for i, (v, h) in enumerate(zip(value, hints, strict=True))]
        if any(v is BAD for v in items):
            return BAD
        made: dict[Any, Any] = {tuple: tuple, Sequence: tuple, set: set, frozenset: frozenset, Set: frozenset}
        return made.get(base, list)(items)

    def _object(self, value: Any, hint: type, path: str) -> Any:
        if hint is Varying:
            made = varying(value, path, self.notes) if isinstance(value, Mapping) else self._wrong(describe(hint), value, path)
            return BAD if made is None else made
        if isinstance(value, Mapping) and "_target_" in value:
            return self.component(value, path, hint)
        if isinstance(value, Mapping) and callable(getattr(hint, "parse", None)):
            return self._parsed(value, hint, path)
        if isinstance(value, Mapping) and dataclasses.is_dataclass(hint):
            return self.call(hint, value, path)
        if isinstance(value, str) and hint.__module__ == "pathlib":
            return hint(value)
        return self._wrong(describe(hint), value, path)

    def _parsed(self, value: Mapping[str, Any], hint: Any, path: str) -> Any:
        """Small grammars (`where` filters, derived tasks) read their own nodes: `hint.parse(node, path)`."""
        try:
            return hint.parse(value, path)
        except UserError as error:
            where, _, message = str(error).partition(": ")
            self.notes.add(*((where, message) if where.startswith(path) else (path, str(error))))
            return BAD

    def _union(self, value: Any, whole: Any, path: str) -> Any:
        args = typing.get_args(whole)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and float in args and int not in args:
            return float(value)
        arms = [a for a in args if plausible(value, a)]
        if len(arms) == 1:
            return self.bind(value, arms[0], path)
        trials = []
        for arm in arms:
            trial = Binder(Notes(), self.construct)
            bound = trial.bind(value, arm, path)
            if not trial.notes.problems:
                self.notes.uses += trial.notes.uses
                return bound
            trials.append(trial.notes)
        if not trials:
            return self._wrong(describe(whole), value, path)
        for problem in min(trials, key=lambda notes: len(notes.problems)).problems:
            self.notes.add(problem.path, problem.message)
        return BAD

    def _choice(self, value: Any, valid: Sequence[Any], path: str) -> Any:
        self.notes.add(path, f"unknown value {show(value)}{nearest(str(value), map(str, valid))}")
        return BAD

    def _wrong(self, expected: str, value: Any, path: str) -> Any:
        self.notes.add(path, f"expected {expected}, got {show(value)}")
        return BAD

    def _fits(self, cls: Any, hint: type, path: str) -> bool:
        if not inspect.isclass(cls):
            return True
        if getattr(hint, "_is_protocol", False):
            absent = [m for m in methods(hint) if not callable(getattr(cls, m, None)) and m not in _STATE]
            if absent:
                self.notes.add(join(path, "_target_"), f"expected {describe(hint)}, but {cls.__name__} has no {' and no '.join(absent)}")
            return not absent
        if not issubclass(cls, hint):
            self.notes.add(join(path, "_target_"), f"expected {describe(hint)}, but {cls.__name__} is none")
        return issubclass(cls, hint)

    def _refer(self, bound: Any, metadata: Iterable[Any], path: str) -> None:
        for ref in metadata:
            if isinstance(ref, Ref) and bound is not BAD and bound is not None:
                for name in bound if isinstance(bound, (list, tuple)) else [bound]:
                    self.notes.uses.append(Use(ref.kind, name, path))

    def _needs(self, need: str, path: str) -> None:
        """A term's `needs` such as "logp:solver@base" names a policy version; "logp:old" and "logp:sampler" name none."""
        from ..learning.needs import parse

        try:
            ref = parse(need, path).ref
        except UserError as error:
            self.notes.add(path, str(error).removeprefix(f"{path}: "))
            return
        if ref not in ("", "old", "live", "sampler"):
            self.notes.uses.append(Use("policy", ref, path))
