"""Whether the policies, engines and optimizers of a sound spec go together: who has weights, who needs them, who tells log-probs.

Components say so in class attributes, all optional: a model's `weights` (default True), an engine's or optimizer's `needs_weights`
(default False), an engine's `logprobs` (default True), an engine's `needs_messages` and a model's `keeps_messages` (default False), an
optimizer's `one_process` (default False), a launcher's `processes` and `nodes` (default 1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..learning.sharing import join
from ..roles import split_ref
from .bind import Binder
from .problems import Notes, Problem
from .runspec import RunSpec

SAMPLER = "logp:sampler"


def disagreements(spec: RunSpec) -> Iterator[Problem]:
    """A problem for every role whose engine needs weights its policy lacks, and every train stage that asks what cannot be given."""
    models = {name: _built(node) for name, node in spec.policies.items()}
    engines = {"": _built(spec.engine), **{name: _built(node) for name, node in spec.engines.items()}}
    bare = {name for name, model in models.items() if getattr(model, "weights", True) is False}
    mute = set()
    for name, role in spec.roles.items():
        policy, engine = split_ref(role.policy)[0], engines[role.engine or ""]
        if policy in bare and getattr(engine, "needs_weights", False):
            said = f"policy '{policy}' ({_target(spec.policies[policy])}) has no weights"
            needed = f"engine {_target(_engine(spec, role.engine))} needs them"
            yield Problem(f"roles.{name}", f"{said}, and {needed}; use engine=scripted, or a model with weights (model=tiny)")
        if getattr(engine, "needs_messages", False) and not getattr(models[policy], "keeps_messages", False):
            said = f"policy '{policy}' ({_target(spec.policies[policy])}) keeps no messages"
            yield Problem(f"roles.{name}", f"{said}, and engine {_target(_engine(spec, role.engine))} asks with them; use model=endpoint")
        if getattr(engine, "logprobs", True) is False:
            mute.add(policy)
    launcher = _built(spec.launcher)
    processes = getattr(launcher, "processes", 1) * getattr(launcher, "nodes", 1)
    trained = {n: (split_ref(s["policy"])[0], _built(s["optimizer"])) for n, s in spec.stages.items() if s.get("policy") is not None}
    yield from (Problem(f"stages.{name}.optimizer.shares", why) for name, why in join(trained))
    for name, node in spec.stages.items():
        if node["kind"] == "train" and node.get("policy") is not None:
            policy, optimizer = split_ref(node["policy"])[0], _built(node["optimizer"])
            path = f"stages.{name}"
            if policy in bare and getattr(optimizer, "needs_weights", False):
                said = f"policy '{policy}' ({_target(spec.policies[policy])}) has no weights to train"
                yield Problem(f"{path}.policy", f"{said}; use a model that has some (model=tiny), or take the stage out (~{path})")
            elif policy in mute:
                yield from _unheard(optimizer, policy, f"{path}.optimizer")
            if processes > 1 and getattr(optimizer, "one_process", False):
                said = f"{_target(node['optimizer'])} trains in one process"
                yield Problem(f"{path}.optimizer", f"{said}, but the launcher starts {processes}; use launcher=inline")


def _unheard(optimizer: Any, policy: str, path: str) -> Iterator[Problem]:
    """Terms that read log-probs which the engine of the policy's role does not give."""
    for name, term in getattr(optimizer, "objective", {}).items():
        if SAMPLER in getattr(term, "needs", ()) and getattr(term, "coef", 1.0) != 0:
            message = f"reads the sampler's log-probs, but the engine that plays '{policy}' gives none; use engine=native, or old: old"
            yield Problem(f"{path}.objective.{name}", message)


def _engine(spec: RunSpec, name: str | None) -> Any:
    return spec.engine if name is None else spec.engines[name]


def _target(node: Any) -> str:
    return str(node["_target_"]) if isinstance(node, Mapping) else type(node).__name__


def _built(node: Any) -> Any:
    return Binder(Notes()).bind(node, Any, "")
