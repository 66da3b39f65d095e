"""Whether a rollout may run ahead: what it reads is there in time, the objective corrects for its age, and a resume can repeat it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ..loop import Block
from ..protocols import each_item
from ..roles import split_ref
from .bind import Binder
from .leaks import reaching
from .problems import Notes, Problem
from .runspec import RunSpec
from .weights import SAMPLER

KEY = "staleness"


def launch_point(block: Block, stages: Mapping[str, Any]) -> int:
    """The place in `block.do` of the first item that trains weights, before which a rollout that runs ahead starts; -1: none does."""
    return next((at for at, item in enumerate(block.do) if any(_trains(stages[name]) for name in _names(item))), -1)


def together(ranks: int) -> str:
    """Why several ranks cannot sample ahead with an engine in which each has a share."""
    return f"{ranks} ranks answer together for the engine that would sample ahead; use one process, an engine of its own, or no overlap"


def early(spec: RunSpec) -> Iterator[Problem]:
    """A problem for everything that stands in the way of a rollout that runs ahead."""
    found = list(_blocks(spec.loop, "loop", ()))
    for block, path, around in found:
        if block.ahead:
            for message in _refusals(spec, block, around):
                yield Problem(f"{path}.ahead.{block.ahead}", message)
            yield from _uncorrected(spec, block)
    scale = spec.raw.get("scale") or {}
    if scale.get(KEY) and not any(block.ahead for block, _, _ in found):
        yield Problem(f"scale.{KEY}", "no block of this loop says `ahead`, so no rollout can run ahead; use 0")


def _refusals(spec: RunSpec, block: Block, around: tuple[Block, ...]) -> Iterator[str]:
    name, point = block.ahead, launch_point(block, spec.stages)
    stage = spec.stages[name]
    if stage["kind"] != "rollout":
        yield f"only a rollout can run ahead, and '{name}' is of kind {stage['kind']}"
        return
    if point < 0:
        yield "no stage of this block trains weights, so a rollout has nothing to run beside"
    if any(b.fork or (b.ahead and b is not block) for b in (*around, *block.blocks())):
        yield "neither inside nor around a block with `fork` or another `ahead` can a rollout run ahead"
    if stage.get("every", 1) != 1:
        yield f"'{name}' does not run in each iteration (every: {stage['every']}), as one that runs ahead must"
    tasks = stage["tasks"]
    if not isinstance(tasks, str):
        yield "its tasks come from rows that its own iteration has yet to make; only a rollout on a task source can run ahead"
    for other in [] if point < 0 else [n for item in block.do[point:] for n in _names(item)]:
        if isinstance(tasks, str) and tasks in (spec.stages[other].get("tasks"), *each_item(spec.stages[other].get("update") or ())):
            yield f"'{other}' draws from '{tasks}' or updates it after '{name}' has drawn ahead; place it before the training"
    for role in _roles(stage):
        if split_ref(spec.roles[role].policy)[1] == "ema":
            yield f"role '{role}' samples from a running average, of which no version is kept that a resume could sample from again"
    ranks = _ranks(spec)
    apart = getattr(_built(spec.launcher), "engines", 0) > 0  # replicas of their own, which the main rank alone asks
    engines = [_built(_engine(spec, spec.roles[role].engine)) for role in _roles(stage)]
    if ranks > 1 and not apart and any(getattr(engine, "shared", False) for engine in engines):
        yield together(ranks)


def _uncorrected(spec: RunSpec, block: Block) -> Iterator[Problem]:
    """Objectives that would learn from the early rows of a policy without a ratio to the log-probs these were sampled with."""
    if spec.stages[block.ahead]["kind"] != "rollout":
        return
    sampled = {split_ref(spec.roles[role].policy)[0] for role in _roles(spec.stages[block.ahead])}
    for name in dict.fromkeys(block.stages()):
        node = spec.stages[name]
        if not _trains(node) or split_ref(node["policy"])[0] not in sampled or block.ahead not in reaching(spec, name):
            continue
        terms = getattr(_built(node["optimizer"]), "objective", {})
        heard = {key: SAMPLER in getattr(term, "needs", ()) for key, term in terms.items() if getattr(term, "coef", 1.0) != 0}
        path = f"stages.{name}.optimizer.objective"
        late = f"'{block.ahead}' runs ahead, so its rows are an update old"
        for key in [k for k, ok in heard.items() if not ok and hasattr(terms[k], "advantage")]:
            yield Problem(f"{path}.{key}", f"{late}, and this term has no ratio to the sampler's log-probs; {_cure(terms[key])}")
        if not any(heard.values()) and not any(hasattr(term, "advantage") for term in terms.values()):
            said = "no term has a ratio to the sampler's log-probs; use ClippedRatio with old: sampler, or no overlap"
            yield Problem(path if terms else f"stages.{name}.optimizer", f"{late}, and {said}")


def _cure(term: Any) -> str:
    """What to set on a term so that it reads the sampler's log-probs."""
    given = inspect.signature(type(term)).parameters
    cures = ["old: sampler"] if "old" in given and given["old"].default == "sampler" else []
    cures += ["truncate: 2.0"] if "truncate" in given else []
    return f"set {' or '.join(cures)}, or use no overlap" if cures else "use another term, or no overlap"


def _blocks(block: Block, path: str, around: tuple[Block, ...]) -> Iterator[tuple[Block, str, tuple[Block, ...]]]:
    """Every block, its path in the spec and the blocks around it."""
    for item in block.do:
        if isinstance(item, Block):
            here = f"{path}.{item.name}"
            yield item, here, around
            yield from _blocks(item, f"{here}.do", (*around, item))


def _names(item: Block | str) -> list[str]:
    return list(item.stages()) if isinstance(item, Block) else [item]


def _trains(node: Mapping[str, Any]) -> bool:
    return node["kind"] == "train" and node.get("policy") is not None


def _roles(stage: Mapping[str, Any]) -> list[str]:
    return list(dict.fromkeys((stage["seats"] or {}).values())) if stage.get("seats") is not None else [stage["role"]]


def _ranks(spec: RunSpec) -> int:
    launcher = _built(spec.launcher)
    return int(getattr(launcher, "processes", 1)) * int(getattr(launcher, "nodes", 1))


def _engine(spec: RunSpec, name: str | None) -> Any:
    return spec.engine if name is None else spec.engines[name]


def _built(node: Any) -> Any:
    return Binder(Notes()).bind(node, Any, "")
