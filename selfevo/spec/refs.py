"""Annotations for constructor parameters that name something elsewhere in the spec: the check looks each name up before a start.

    def __init__(self, role: RoleName, of: TableName, update: Sequence[SourceName] = ()): ...
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated


@dataclass(frozen=True, slots=True)
class Ref:
    """Marks text that names a `kind` of thing: role, policy, memory, table, source, prompt, engine, stage or metric."""

    kind: str


RoleName = Annotated[str, Ref("role")]
"""A role: "solver"."""

PolicyRef = Annotated[str, Ref("policy")]
"""A policy or one of its versions: "solver", "solver@base"."""

MemoryRef = Annotated[str, Ref("memory")]
"""A memory or one of its versions: "skills", "skills@best"."""

TableName = Annotated[str, Ref("table")]
"""A table: "rollout", "rollout@-1", "warmup/fit", or a dataset by its top-level name."""

SourceName = Annotated[str, Ref("source")]
"""A curriculum or task source by its top-level name: "curriculum", "task"."""

PromptName = Annotated[str, Ref("prompt")]
"""A template under `prompts`."""

EngineName = Annotated[str, Ref("engine")]
"""An engine under `engines`."""

StageName = Annotated[str, Ref("stage")]
"""A stage."""
