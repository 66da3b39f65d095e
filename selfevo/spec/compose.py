"""From overrides to a composed config, with every mistake as one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import SpecErrors, UserError
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
    tree = Configs(config_dirs)
    prepared = prepare(tree, overrides)
    if prepared.problems:
        raise SpecErrors(problem_lines(prepared))
    return compose_plain(tree, prepared.plain)


def read(overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> RunSpec:
    """Compose and check. Raises SpecErrors with every mistake of the overrides and the spec at once."""
    return preflight(overrides, config_dirs)[1]


def preflight(overrides: Sequence[str], config_dirs: Sequence[str] = (), base: str = BASE, multirun: bool = False) -> tuple[list[str], RunSpec]:
    """The overrides for Hydra, after the spec they make (of a sweep: its first job) was checked."""
    tree = Configs(config_dirs, base)
    prepared = prepare(tree, overrides, multirun)
    try:
        spec = check(compose_plain(tree, prepared.plain), Provenance(tree, prepared.plain, prepared.assigned))
    except SpecErrors as error:
        raise SpecErrors([*problem_lines(prepared), *error.lines]) from None
    if prepared.problems:
        raise SpecErrors(problem_lines(prepared))
    return prepared.hydra, spec


def problem_lines(prepared: Prepared) -> list[str]:
    """Mistakes of the overrides, a line each."""
    return lines(prepared.problems, Origin({}))


def compose_plain(tree: Configs, overrides: Sequence[str]) -> DictConfig:
    """Compose, with Hydra's errors turned into one line that carries none of its advice."""
    from hydra.errors import HydraException
    from omegaconf import OmegaConf, open_dict
    from omegaconf.errors import OmegaConfBaseException

    try:
        cfg = tree.compose(overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise SpecErrors([hydra_line(error)]) from error
    with open_dict(cfg):
        cfg.pop("hydra", None)
    OmegaConf.set_struct(cfg, False)
    return cfg


def hydra_line(error: BaseException) -> str:
    """A Hydra or OmegaConf error as one line; what it advises about prefixes is left out."""
    text = str(error) or str(error.__cause__ or type(error).__name__)
    kept = []
    for line in text.splitlines():
        if line.strip().startswith(("To append", "Or add a second", "Either remove", "Available options", "Set the environment", "Config search path")):
            break
        kept.append(line.strip())
    return " ".join(part for part in kept if part)


def usable(error: BaseException) -> UserError:
    """The UserError for an error of Hydra."""
    return UserError(hydra_line(error))
