"""A component's settings: what its node says, and its constructor's defaults for the rest."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from ..spec.signatures import locate


def settings(node: Mapping[str, Any]) -> dict[str, Any]:
    """Every keyword of the component that a node describes, by its YAML key. Constructors import nothing heavy, so neither does this."""
    target = locate(str(node["_target_"]))
    given = inspect.signature(target).parameters.values()
    defaults = {p.name.removesuffix("_"): p.default for p in given if p.default is not p.empty}
    return {**defaults, **{k: v for k, v in node.items() if k != "_target_"}}
