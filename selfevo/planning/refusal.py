"""What cannot fit is refused in one line, before anything is loaded, with the nearest settings that would fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from .cluster import Cluster
from .launch import Launch
from .plan import Plan, make
from .settings import settings

if TYPE_CHECKING:
    from ..spec import RunSpec

SHARES = (0.4, 0.3, 0.2)
"""Shares of a GPU's memory that are tried for vLLM."""


def refusal(spec: RunSpec, cluster: Cluster) -> str | None:
    """Why a checked spec cannot run on a cluster, in one line; None where it can, or where a model's shape is not known, so that nothing
    can be said. A cluster without GPUs (a laptop) refuses nothing: its memory can be more than it seems."""
    if not cluster.gpus:
        return None
    try:
        plan = make(spec, cluster)
    except UserError:
        return None
    if not plan.problems:
        return None
    models = ", ".join(dict.fromkeys(p.shape.name for p in plan.policies.values()))
    return f"{models} does not fit {cluster}: {plan.problems[0]}; {advice(plan)}; selfevo plan shows all of it"


def advice(plan: Plan) -> str:
    """The nearest change of settings that makes a plan fit, as overrides of the command line."""
    for engine in _engines(plan):
        for launch, changes in _others(plan):
            tried = make(plan.spec, plan.cluster, plan.prompt, plan.reply, launch, changes, engine)
            if not tried.problems:
                return f"it fits with {' '.join(_overrides(plan, launch, changes, engine))}"
    return "no ZeRO stage, offload, recomputation or engine setting makes it fit: more or larger GPUs, a smaller model, or model.lora would"


def _engines(plan: Plan) -> Iterator[Mapping[str, Any]]:
    """Settings of the run's engine: its own; then of vLLM more GPUs to a copy and less memory of each, else a smaller cache."""
    yield {}
    served, now = plan.served.get(""), settings(plan.spec.engine)
    if served is None:
        return
    if served.kind != "vllm":
        yield from ({"cache_tokens": now["cache_tokens"] // part} for part in (2, 4, 8, 16, 32))
        return
    heads = [p.shape.heads for p in plan.policies.values()]
    for share in (now["memory_share"], *(s for s in SHARES if s < now["memory_share"])):
        for group in (g for g in (1, 2, 4, 8) if g >= served.group and plan.cluster.gpus % g == 0 and not any(h % g for h in heads)):
            groups = max(1, plan.cluster.gpus // group) if now["mode"] == "server" else 1
            changed = {"tensor_parallel": group, "replicas": groups, "memory_share": share}
            yield {k: v for k, v in changed.items() if now[k] != v}


def _others(plan: Plan) -> Iterator[tuple[Launch, Mapping[str, Any]]]:
    """Settings of launcher and learners, the least costly first: recomputation, sharing more, smaller micro-batches, host memory."""
    yield plan.launch, {}
    if not plan.fits:
        return
    c, now = plan.cluster, plan.launch
    launch = replace(now, processes=c.gpus) if now.world == 1 else now
    most = max(f.optimizer.micro_tokens for f in plan.fits)
    for offload in ("none", "optimizer", "all"):
        for micro in (most, most // 2, most // 4):
            for zero in (z for z in (0, 1, 2, 3) if z >= now.zero):
                if (offload == "none" or (zero and (offload != "all" or zero == 3))) and (launch.world > 1 or not zero):
                    one = replace(launch if zero else now, zero=zero, offload=offload)
                    smaller = {} if micro == most else {"micro_tokens": micro}
                    yield one, smaller
                    yield one, {"gradient_checkpointing": True, **smaller}


def _overrides(plan: Plan, launch: Launch, changes: Mapping[str, Any], engine: Mapping[str, Any]) -> list[str]:
    """What to type."""
    was = plan.launch
    out = ["launcher=torchrun"] if launch.world > 1 and "processes" not in plan.spec.launcher else []
    keys = [k for k in ("processes", "nodes", "zero", "offload") if getattr(launch, k) != getattr(was, k)]
    out += [f"launcher.{k}={getattr(launch, k)}" for k in keys]
    place = "optimizer" if plan.spec.raw.get("optimizer") else f"stages.{plan.fits[0].stage}.optimizer"
    differs = [k for k, v in changes.items() if any(getattr(f.optimizer, k) != v for f in plan.fits)]
    return [*out, *(f"{place}.{k}={str(changes[k]).lower()}" for k in differs), *(f"engine.{k}={v}" for k, v in engine.items())]
