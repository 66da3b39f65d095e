"""What a run is made of, made: every component that its spec names, with every policy loaded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import UserError
from .freed import keep_freed_memory
from .learning.sharing import join
from .spec.check import build
from .stages import Stage
from .world import World

if TYPE_CHECKING:
    from .spec import RunSpec


def assemble(spec: RunSpec, world: World, note: Callable[[str], None]) -> dict[str, Stage]:
    """Fill `world` with what the spec names, and give its stages by name: the first heavy moment of a run. Places are told to `note`.

    Raises UserError for what only the parts together show to be wrong, and what their constructors and loaders raise.
    """
    for name, node in spec.memories.items():
        world.memories[name] = build(node).load(name)
        world.lineages.start(world.memories[name].version)
    world.place.settle(spec, note)
    world.engines = {name: world.place.engine(name) for name in ("", *spec.engines)}
    world.sources = {name: build(node) for name, node in spec.sources.items()}
    stages: dict[str, Stage] = {name: build(node) for name, node in spec.stages.items()}
    for stage in stages.values():
        optimizer: Any = getattr(stage, "optimizer", None)
        if hasattr(optimizer, "on"):
            optimizer.on(world.ranks)
    for name, why in join({n: (s.policy, s.optimizer) for n, s in stages.items() if getattr(s, "policy", None)}):  # type: ignore[attr-defined]
        raise UserError(f"stages.{name}.optimizer.shares: {why}")
    world.suites = {name: s.suite for name, s in stages.items() if s.kind == "evaluate"}  # type: ignore[attr-defined]
    world.held_out = frozenset(i for suite in world.suites.values() for i in suite.held_out)
    drawn = {t for node in spec.stages.values() if isinstance(t := node.get("tasks"), str)}
    for source in sorted(drawn & world.sources.keys()):
        read_ahead(world.sources[source])
    world.load_policy = lambda name: build(spec.policies[name]).load(name)
    for name in spec.policies:
        world.policies[name] = world.load_policy(name)
        world.lineages.start(world.policies[name].version)
    keep_freed_memory(world.policies.values())
    return stages


def read_ahead(source: Any) -> None:
    """Have a task source, or a curriculum's `tasks`, read its data: what cannot be used ends a run before a model loads."""
    tasks = getattr(source, "tasks", source)
    if hasattr(tasks, "categories"):
        len(tasks.categories)
