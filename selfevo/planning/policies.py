"""The policies of a spec as a plan sees them: shape, bytes per number, adapter, and which copies of their weights a run keeps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..learning.needs import parse
from ..roles import split_ref
from .settings import settings
from .shapes import Shape, shape_of

WIDTHS = {"float32": 4, "bfloat16": 2}


@dataclass(frozen=True, slots=True)
class Held:
    """One policy. width: bytes per number of its weights. adapted: the layers its adapter is on; adapter: parameters of that (0: none).
    limit: longest context plus reply. eager: its attention keeps scores."""

    name: str
    shape: Shape
    width: int
    adapted: tuple[str, ...] = ()
    adapter: int = 0
    limit: int = 0
    eager: bool = False

    @property
    def bytes(self) -> float:
        """Of its weights, adapter included (peft keeps adapters of half-precision models in float32)."""
        return float(self.shape.parameters * self.width + 4 * self.adapter)

    @property
    def trained(self) -> int:
        """Parameters that an optimizer moves."""
        return self.adapter or self.shape.parameters

    @property
    def half(self) -> bool:
        """Whether those are 16-bit numbers."""
        return self.width == 2 and not self.adapter

    @property
    def copy(self) -> float:
        """Bytes of another version beside it: under an adapter the base is shared."""
        return 4.0 * self.adapter if self.adapter else self.bytes


def held(name: str, node: Mapping[str, Any]) -> Held | None:
    """The policy of a model's node; None for one without weights. Raises UserError when its shape is not known."""
    said = settings(node)
    if "path" not in said:
        return None
    shape = shape_of(str(said["path"]))
    width = WIDTHS.get(str(said.get("dtype")), 2 if shape.half else 4)
    lora = said.get("lora")
    adapted: tuple[str, ...] = ()
    rank = 0
    if isinstance(lora, Mapping):
        given = settings(lora)
        rank, targets = int(given["rank"]), given["targets"]
        adapted = tuple(n for n in shape.linears if _chosen(n, targets))
    adapter = shape.layers * sum(rank * sum(shape.linears[n]) for n in adapted)
    return Held(name, shape, width, adapted, adapter, int(said.get("max_length") or shape.positions), said.get("attn") == "eager")


def _chosen(name: str, targets: Any) -> bool:
    """Whether peft puts an adapter on a layer's linear map: all of them, those named, or those whose whole path a pattern matches."""
    if not isinstance(targets, str):
        return name in targets
    part = "self_attn" if name[0] in "qkvo" else "mlp"
    return targets == "all-linear" or re.fullmatch(targets, f"model.layers.0.{part}.{name}") is not None


def other_version(ref: str) -> bool:
    """Whether a reference means weights beside the live ones (the running average counts with the learner that keeps it)."""
    return ref not in ("", "old", "live", "sampler") and split_ref(ref)[1] not in ("current", "ema")


def needs_of(optimizer: Any) -> list[str]:
    """What an optimizer's terms and advantages ask to be computed; terms with coefficient 0 ask nothing."""
    terms = [t for t in getattr(optimizer, "objective", {}).values() if getattr(t, "coef", 1.0) != 0]
    return [n for part in (*terms, *getattr(optimizer, "advantage", {}).values()) for n in getattr(part, "needs", ())]


def versions_of(optimizer: Any) -> set[str]:
    """References to frozen versions among them."""
    return {ref for need in needs_of(optimizer) if other_version(ref := parse(need, "objective").ref)}
