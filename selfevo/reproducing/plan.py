"""Which runs a reproduction takes: the method and its baseline, once for every seed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UserError, nearest
from ..packaged import configs
from ..records import digest
from ..spec import RunSpec, dump, preflight, read
from ..spec.reproduction import Reproduction

SIDES = ("method", "baseline")


@dataclass(frozen=True)
class Arm:
    """One run: `side` is "method" or "baseline", `name` what people call it."""

    side: str
    name: str
    seed: int
    overrides: tuple[str, ...]
    spec: RunSpec

    @property
    def folder(self) -> str:
        """Its run directory's name within the reproduction's folder."""
        return f"{self.side}-{self.seed}"


@dataclass(frozen=True)
class Plan:
    """A reproduction: `id` as typed, the experiment it runs, what the experiment says of it, and its runs (both sides, seed by seed)."""

    id: str
    experiment: str
    block: Reproduction
    arms: tuple[Arm, ...]

    @property
    def settings(self) -> str:
        """Digest of both sides' specs, seeds left out: another one means that a recorded result was of something else."""
        first = {arm.side: _without_seeds(arm.spec.raw) for arm in reversed(self.arms)}
        told = [{k: v for k, v in first[side].items() if k not in ("reproduce", "paper")} for side in SIDES]
        return digest(json.dumps(told, sort_keys=True))  # as text: a spec may hold inf


def plan(identifier: str, seeds: Sequence[int], overrides: Sequence[str] = (), config_dirs: Sequence[str] = ()) -> Plan:
    """Compose and check every run of a reproduction. `overrides` are given to both sides, last.

    Raises UserError where there is no such method or it names no baseline, SpecErrors for mistakes in a spec.
    """
    experiment = _experiment(identifier, config_dirs)
    block = read([f"experiment={experiment}", *overrides], config_dirs).reproduce
    if block is None:
        raise UserError(f"experiment={experiment} names no baseline: it has no `reproduce` block (docs/reproducing.md)")
    return Plan(identifier, experiment, block, tuple(_arms(identifier, experiment, block, seeds, overrides, config_dirs)))


def _arms(
    identifier: str, experiment: str, block: Reproduction, seeds: Sequence[int], overrides: Sequence[str], config_dirs: Sequence[str]
) -> Iterator[Arm]:
    base = block.baseline
    sides = {
        "method": (identifier.rpartition("/")[2], [f"experiment={experiment}", *overrides]),
        "baseline": (base.name, [f"experiment={base.experiment}", *base.overrides, *overrides]),
    }
    # evaluations draw by suite, task and sample, whatever the run's seed: where they are all there is, the suite's seed has to change
    own = (lambda seed: [f"seed={seed}", f"eval.seed={seed}"]) if block.cost == "evaluation" else (lambda seed: [f"seed={seed}"])
    for seed in seeds:
        for side, (name, given) in sides.items():
            typed, spec = preflight([*given, *own(seed)], config_dirs)
            yield Arm(side, name, seed, tuple(typed), spec)


def _without_seeds(node: Any) -> Any:
    """A spec's plain values without what differs between the runs of one side."""
    if isinstance(node, Mapping):
        return {k: _without_seeds(v) for k, v in node.items() if k != "seed"}
    return [_without_seeds(v) for v in node] if isinstance(node, (list, tuple)) else node


def methods(config_dirs: Sequence[str] = ()) -> dict[str, str]:
    """{id: experiment} of every experiment that says how it is reproduced, read from the files' text alone."""
    found = {}
    for folder in (configs(), *map(Path, config_dirs)):
        for file in sorted((folder / "experiment").rglob("*.yaml")):
            if any(line.startswith("reproduce:") for line in file.read_text().splitlines()):
                name = str(file.relative_to(folder / "experiment").with_suffix(""))
                found[name.removeprefix("tiny/")] = name
    return found


def _experiment(identifier: str, config_dirs: Sequence[str]) -> str:
    known = methods(config_dirs)
    if identifier in known:
        return known[identifier]
    if identifier in known.values():
        return identifier
    raise UserError(f"'{identifier}' is no method that can be reproduced{nearest(identifier, known)}")


def text(arm: Arm) -> str:
    """The resolved spec that a run's process reads."""
    return dump(arm.spec)
