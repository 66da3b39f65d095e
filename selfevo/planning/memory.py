"""What takes memory in a plan: items per GPU in its two phases, and host memory per node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from ..learning.needs import parse
from ..roles import split_ref
from .cluster import GIB, Cluster
from .launch import Launch
from .policies import Held, needs_of
from .serving import Serving
from .training import Fit


@dataclass(frozen=True, slots=True)
class Item:
    """Bytes per GPU while a policy trains and while engines generate. why: how it was reckoned."""

    name: str
    train: float
    generate: float
    why: str


def items(
    policies: Mapping[str, Held], fits: Sequence[Fit], served: Mapping[str, Serving], frozen: Collection[str], launch: Launch
) -> list[Item]:
    """Everything there is. `frozen`: references to versions that are kept beside the live ones."""
    twins = sum(f.states.weights for f in owners(fits)) if launch.zero == 3 else 0.0
    weights = sum(p.bytes for p in policies.values()) + twins
    resting = min(map(_resting, fits)) if twins else 0.0
    why = " + ".join(f"{p.shape.parameters:,} x {p.width} ({name})" for name, p in policies.items())
    out = [Item("weights", weights - resting, weights, why + (", and the twin that ZeRO 3 shares out" if twins else ""))]
    copies = sum(policies[name].copy for ref in frozen if (name := split_ref(ref)[0]) in policies)
    if copies:
        out.append(Item("frozen versions", copies, copies, ", ".join(sorted(frozen))))
    return out + _learners(fits, launch) + [_engine(name, s) for name, s in served.items() if not s.apart]


def _resting(f: Fit) -> float:
    """Bytes that stage 3 gives back while a policy trains: its own whole weights, where nothing reads them (`learning.zero`)."""
    return 0.0 if any(parse(need, "objective").beside for need in needs_of(f.optimizer)) else f.policy.bytes


def owners(fits: Sequence[Fit]) -> list[Fit]:
    """The stages with an AdamW of their own."""
    return [f for f in fits if f.optimizer.shares is None]


def _learners(fits: Sequence[Fit], launch: Launch) -> list[Item]:
    """The busiest stage's pass, and what the learners of all stages keep between updates."""
    if not fits:
        return []
    f = max(fits, key=lambda f: f.states.gradients + f.states.gathered + f.activations + f.logits)
    how = f"zero {launch.zero}, {launch.world} processes" + ("" if launch.offload == "none" else f", offload {launch.offload}")
    kept = sum(x.states.optimizer for x in owners(fits))
    averages = sum(x.average for x in owners(fits))
    path = f"{'stream' if f.how.stream else 'modules'}, {'recomputed' if f.how.checkpointing else 'kept'}"
    wide = 2 if f.policy.half else 4
    return [
        Item("optimizer", kept, kept, f"AdamW of {sum(x.policy.trained for x in owners(fits)):,} parameters, {how}"),
        *([Item("running averages", averages, averages, "float32, whole in every process")] if averages else []),
        Item("gradients", f.states.gradients + f.states.gathered, 0.0, f"of {f.policy.trained:,} parameters of {wide} bytes, {how}"),
        Item("activations", f.activations, 0.0, f"{f.micro:,.0f} tokens at once, {path}"),
        Item("logits", f.logits, 0.0, f"{f.responses:,.0f} tokens at once x {f.policy.shape.vocabulary:,}, and their gradient"),
        *([Item("DeepSpeed buffers", f.buffers, 0.0, "reduction bucket, and what ZeRO 3 keeps gathered")] if f.buffers else []),
    ]


def _engine(name: str, s: Serving) -> Item:
    label = f"engine {name}".rstrip()
    if s.kind == "native":
        return Item(label, s.rest, s.share, f"cache of {s.room:,.0f} tokens")
    held = f"weights {s.weights / GIB:.1f} GiB, cache {s.cache / GIB:.1f} GiB of {s.room:,.0f} tokens in each copy of the model"
    return Item(label, s.rest, s.share, f"its share: {held}")


def host(
    policies: Mapping[str, Held], fits: Sequence[Fit], served: Mapping[str, Serving], cluster: Cluster, launch: Launch
) -> dict[str, float]:
    """Bytes of host memory per node, by what they are for; none are told apart where there is no GPU."""
    if not cluster.gpus:
        return {}
    loading = sum(p.bytes for p in policies.values()) * launch.processes
    out = {"loading, offload": max(loading, *(f.states.host for f in fits)) if fits else loading}
    saved = sum((12.0 if f.policy.half else 8.0) * f.policy.trained for f in owners(fits)) * launch.processes
    asleep = sum(s.host * s.groups for s in served.values())
    return out | {name: size for name, size in (("state while it is saved", saved), ("engines asleep", asleep)) if size}
