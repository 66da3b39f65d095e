"""What an experiment says of its own reproduction: the baseline it is held against, at which cost, and on which number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError


@dataclass(frozen=True, slots=True)
class Baseline:
    """The run that the method is compared with. `overrides` are those of the command line, given after `experiment=<experiment>`."""

    name: str
    experiment: str
    overrides: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Reproduction:
    """The block `reproduce` of an experiment, which `selfevo reproduce` carries out.

    effect: one sentence, what the paper says should be seen. metric: one that both runs log. better: which way is good.
    cost: what is made equal. "training": tokens generated outside evaluations, discarded ones included; both curves are read where the
        cheaper run ended. "evaluation": methods that only act at test time; the tokens of the last evaluation are compared.
    notes: what was tried, what falls short.
    """

    effect: str
    metric: str
    baseline: Baseline
    better: Literal["higher", "lower"] = "higher"
    cost: Literal["training", "evaluation"] = "training"
    notes: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name, text in (("effect", self.effect), ("metric", self.metric)):
            if not text.strip():
                raise UserError(f"{name} is empty")
