"""From overrides to a composed config, with every mistake as one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..collecting import without_collector
from ..errors import SpecErrors
from .check import check, lines
from .overrides import Prepared, prepare
from .provenance import Provenance
from .resolve import Origin
from .runspec import RunSpec
from .sources import BASE, Configs

if TYPE_CHECKING:
    from omegaconf import DictConfig


def compose(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> DictConfig:
    """The config that `selfevo run OVERRIDES` would use, interpolations unresolved. Raises SpecErrors."""
    prepared = prepare(Configs(config_dirs), overrides)
    if prepared.problems:
        raise SpecErrors(problem_lines(prepared))
    return prepared.cfg


def read(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> RunSpec:
    """Compose and check. Raises SpecErrors with every mistake of the overrides and the spec at once."""
    return preflight(overrides, config_dirs)[1]


def preflight(
    overrides: Sequence[str], config_dirs: Sequence[str] = (), base: str = BASE, multirun: bool = False
) -> tuple[list[str], RunSpec]:
    """The overrides for Hydra, after the spec they make (of a sweep: its first job) was checked."""
    return checked(Configs(config_dirs, base), overrides, multirun)


@without_collector()
def checked(tree: Configs, overrides: Sequence[str], multirun: bool = False) -> tuple[list[str], RunSpec]:
    """The same, from a tree of configs that its caller goes on with."""
    prepared = prepare(tree, overrides, multirun)
    try:
        spec = check(prepared.cfg, Provenance(tree, prepared.groups, prepared.assigned))
    except SpecErrors as error:
        raise SpecErrors([*problem_lines(prepared), *error.lines]) from None
    if prepared.problems:
        raise SpecErrors(problem_lines(prepared))
    return prepared.hydra, spec


def problem_lines(prepared: Prepared) -> list[str]:
    """Mistakes of the overrides, a line each."""
    return lines(prepared.problems, Origin({}))
