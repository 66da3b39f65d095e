"""Names one part of a spec uses of another: who plays which role, which tables a stage reads, where a metric comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UserError, nearest
from ..loop import Block
from ..protocols import each_item
from ..references import OF_TABLES, TableRef
from .problems import Notes, Use, join

_STAGE_KEYS = {
    "role": "role", "policy": "policy", "memory": "memory", "prompt": "prompt", "update": "source",
    "of": "table", "from": "table", "using": "table", "since": "table",
}
"""What the keys of a stage name."""

_WORDS = {"policy": "policy", "memory": "memory", "table": "stage", "source": "task source or curriculum", "each": "`each` block"}

ALIASES = ("current", "base", "best", "start", "ema")
"""Aliases any version may have; stages (the last version they made), blocks (on entering them) and `promote` add theirs."""


@dataclass(frozen=True, slots=True)
class Known:
    """Every name a spec defines, by kind."""

    roles: Iterable[str]
    policies: Iterable[str]
    memories: Iterable[str]
    prompts: Iterable[str]
    engines: Iterable[str]
    sources: Iterable[str]
    stages: Iterable[str]
    blocks: Iterable[str]
    each: Iterable[str]
    aliases: Iterable[str]

    def of(self, kind: str) -> list[str]:
        """Valid names of a kind."""
        return sorted(
            {"role": self.roles, "policy": self.policies, "memory": self.memories, "prompt": self.prompts, "engine": self.engines,
             "source": self.sources, "stage": self.stages, "table": self.stages, "each": self.each}[kind]
        )


def stage_uses(node: Mapping[str, Any], path: str) -> list[Use]:
    """Names that a stage's keys use."""
    uses = []
    for key, kind in _STAGE_KEYS.items():
        if node.get(key) is not None:
            uses += [Use(kind, name, join(path, key)) for name in each_item(node[key]) if isinstance(name, str)]
    tasks = node.get("tasks")
    if isinstance(tasks, str):
        uses.append(Use("source", tasks, join(path, "tasks")))
    elif isinstance(tasks, Mapping):
        kinds = {**dict.fromkeys(OF_TABLES, "table"), "suite": "stage", "prompt": "prompt"}
        for key, kind in kinds.items():
            if isinstance(tasks.get(key), str):
                uses.append(Use(kind, tasks[key], f"{path}.tasks.{key}"))
        reading = tasks.get("reading") or {}
        uses += [Use("memory", f"{memory}@{version}", f"{path}.tasks.reading.{memory}") for memory, version in reading.items()]
    if isinstance(node.get("seats"), Mapping):
        uses += [Use("role", role, f"{path}.seats.{seat}") for seat, role in node["seats"].items() if isinstance(role, str)]
    if isinstance(node.get("bind"), Mapping):
        for memory, versions in node["bind"].items():
            named = [str(version).removesuffix("*") for version in each_item(versions) if "{" not in str(version)]
            uses += [Use("memory", f"{memory}@{version}", f"{path}.bind.{memory}") for version in named]
    return uses


def loop_uses(block: Block) -> list[Use]:
    """Tables that stop conditions count."""
    return [Use("table", b.until.rows, f"loop.{b.name}.until.rows") for b in block.blocks() if b.until is not None and b.until.rows]


def look_up(uses: Sequence[Use], known: Known, notes: Notes) -> None:
    """Note every use of a name that nothing defines."""
    for use in uses:
        if use.kind == "metric":
            stage, dot, _ = use.name.partition(".")
            if dot and stage not in known.stages:
                notes.add(use.path, f"no stage is named '{stage}'{nearest(stage, known.stages)}")
        elif use.kind == "table":
            _table(use, known, notes)
        else:
            (name, at, alias), valid = use.name.partition("@"), known.of(use.kind)
            if name not in valid:
                notes.add(use.path, f"no {_WORDS.get(use.kind, use.kind)} is named '{name}'{nearest(name, valid)}")
            elif at and not alias.isdigit() and alias not in (aliases := {*ALIASES, *known.stages, *known.blocks, *known.aliases}):
                notes.add(use.path, f"{name} has no version '{alias}'{nearest(alias, aliases)}")


def _table(use: Use, known: Known, notes: Notes) -> None:
    try:
        ref = TableRef.parse(use.name, "")
    except UserError as error:
        notes.add(use.path, str(error).removeprefix(": "))
        return
    if ref.stage not in known.stages:
        notes.add(use.path, f"no stage is named '{ref.stage}'{nearest(ref.stage, known.stages)}")
    if ref.block and ref.block not in known.blocks:
        notes.add(use.path, f"no block of the loop is named '{ref.block}'{nearest(ref.block, known.blocks)}")
