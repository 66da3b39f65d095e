"""RunSpec: a checked spec. Its nodes are plain values that are known to build."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..errors import UserError

if TYPE_CHECKING:
    from ..loop import Block
    from ..prompts import Template
    from ..roles import Role
    from .reproduction import Reproduction

Node = Mapping[str, Any]
"""A mapping with `_target_` (a component) or `kind` (a stage): `build` makes the object it describes."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`every`: weights are written every k-th version. `keep`: how many versions of weights stay on disk besides aliased ones."""

    every: int = 1
    keep: int = 3

    def __post_init__(self) -> None:
        if self.every < 1 or self.keep < 1:
            raise UserError(f"every and keep must be 1 or more, not {self.every} and {self.keep}")


@dataclass(frozen=True, slots=True)
class RunSpec:
    """Everything a run is made of. `raw` is the resolved spec as plain values: what spec.yaml holds and `load` reads back."""

    name: str
    seed: int
    policies: Mapping[str, Node]
    roles: Mapping[str, Role]
    memories: Mapping[str, Node]
    prompts: Mapping[str, Template]
    engine: Node
    engines: Mapping[str, Node]
    stages: Mapping[str, Node]
    loop: Block
    sources: Mapping[str, Node]
    trackers: Mapping[str, Node]
    launcher: Node
    checkpoint: Checkpoint
    paper: Mapping[str, Any] | None
    metric: str | None
    reproduce: Reproduction | None
    raw: Mapping[str, Any] = field(repr=False)
