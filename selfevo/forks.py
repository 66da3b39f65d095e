"""Fork blocks: private copies of policies and memories that leave no trace unless adopted, optimizer state included."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from .protocols import Stateful
from .stages import Stage
from .world import World


@contextmanager
def forked(world: World, stages: Mapping[str, Stage], names: Sequence[str], adopt: bool) -> Iterator[None]:
    """Inside, the named policies and memories are copies; after, weights, text, aliases and optimizer states are exactly what they
    were, unless `adopt`: then the copies' weights and promotions stay. Versions made inside remain in the lineage either way."""
    policies = {n: world.policies[n] for n in names if n in world.policies}
    aliases = {n: dict(world.lineages.aliases[n]) for n in names}
    texts = {n: dict(world.memories[n].aliases) for n in names if n in world.memories}
    optimizers = _optimizers(stages, names)
    states = {name: copy.deepcopy(o.state_dict()) for name, o in optimizers.items()}
    for name, policy in policies.items():
        world.policies[name] = policy.fork()
    try:
        yield
    finally:
        for name, policy in policies.items():
            inner = world.policies[name]
            world.policies[name] = policy
            if adopt:
                policy.model.load_state_dict(inner.model.state_dict())
                for head, module in inner.heads.items():
                    policy.heads[head] = module
                policy.version = inner.version
        if not adopt:
            for name, saved in aliases.items():
                world.lineages.aliases[name] = saved
            for name, saved in texts.items():
                for alias, version_id in saved.items():
                    world.memories[name].promote(version_id, alias)
            for name, state in states.items():
                optimizers[name].load_state_dict(state)


def _optimizers(stages: Mapping[str, Stage], names: Sequence[str]) -> dict[str, Any]:
    found = {}
    for name, stage in stages.items():
        target = getattr(stage, "policy", None) or getattr(stage, "memory", None)
        if target in names and isinstance(getattr(stage, "optimizer", None), Stateful):
            found[name] = stage.optimizer  # type: ignore[attr-defined]
    return found
