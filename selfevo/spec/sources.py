"""Where configs come from: the packaged tree, folders the user adds, and Hydra's own; loading and listing through one repository."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..collecting import without_collector
from ..errors import SpecErrors, UserError, nearest
from ..packaged import configs

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from yaml import MarkedYAMLError

BASE = "config"
VERSION_BASE = "1.3"
"""The version of Hydra whose behaviour is asked for."""
_ADVICE = ("To append", "Or add a second", "Either remove", "Available options", "Set the environment", "Config search path")


class Configs:
    """The config tree of one call: packaged configs, then `config_dirs`, through Hydra's loader (so its plugins' paths count too).
    `again`: Hydra is to run what is composed here, so the loader remembers it."""

    @without_collector()
    def __init__(self, config_dirs: Sequence[str] = (), base: str = BASE, again: bool = False):
        from hydra import version
        from hydra._internal.utils import create_config_search_path
        from hydra.core.config_search_path import SearchPathQuery
        from hydra.core.utils import setup_globals

        from .loader import Loader

        setup_globals()
        version.setbase(VERSION_BASE)
        search = create_config_search_path(str(configs()))
        for folder in config_dirs:
            if not Path(folder).is_dir():
                raise UserError(f"--config-dir {folder}: no such folder; expected one that holds config groups, such as experiment/")
            search.prepend(provider="command-line", path=f"file://{Path(folder).resolve()}", anchor=SearchPathQuery(provider="schema"))
        self.base = base
        self.loader = Loader(search, remember=again)

    def repository(self, overrides: Sequence[str]) -> Any:
        """Hydra's view of all folders, `hydra.searchpath` of the base config and the overrides included."""
        only = [o for o in overrides if o.lstrip("+").startswith("hydra.searchpath=")]
        return self.loader._parse_overrides_and_create_caching_repo(self.base, only)[1]

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """The composed config without Hydra's own node, open to new keys. Raises SpecErrors."""
        from hydra.errors import HydraException
        from hydra.types import RunMode
        from omegaconf import OmegaConf
        from omegaconf.errors import OmegaConfBaseException
        from yaml import MarkedYAMLError

        try:
            cfg = self.loader.load_configuration(self.base, list(overrides), run_mode=RunMode.RUN, from_shell=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise SpecErrors([hydra_line(error)]) from error
        except MarkedYAMLError as error:
            raise SpecErrors([yaml_line(error)]) from error
        OmegaConf.set_struct(cfg, False)
        cfg.pop("hydra", None)
        return cfg

    def assign(self, cfg: DictConfig, overrides: Sequence[str]) -> None:
        """Apply key=value overrides to a composed config, as Hydra does. Raises SpecErrors."""
        from hydra.core.override_parser.overrides_parser import OverridesParser
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            self.loader._apply_overrides_to_config(OverridesParser.create().parse_overrides(list(overrides)), cfg)
        except (HydraException, OmegaConfBaseException) as error:
            raise SpecErrors([hydra_line(error)]) from error


def hydra_line(error: BaseException) -> str:
    """A Hydra or OmegaConf error as one line; of a value that cannot be merged, why not; what it advises about prefixes is left out."""
    from hydra.errors import MissingConfigException

    text = str(error) or str(error.__cause__ or type(error).__name__)
    if isinstance(error, MissingConfigException) and error.missing_cfg_file is not None and error.options is not None:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        return f"{group}: no choice '{name}'{nearest(name, error.options)}"
    match = re.match(r"Could not override '(hydra[\w.]*)'", text)
    if match:
        return f"{match[1]}: unknown key{_nearest_setting(match[1])}"
    match = re.match(r"Error merging override (\S+=.*)", text)
    if match and error.__cause__ is not None:
        return f"{match[1]}: {str(error.__cause__).splitlines()[0]}"
    kept = []
    for line in text.splitlines():
        if line.strip().startswith(_ADVICE):
            break
        kept.append(line.strip())
    return " ".join(part for part in kept if part)


def short(file: Path) -> str:
    """A file as messages name it: from the current folder, or its last three parts."""
    here = Path.cwd()
    return str(file.relative_to(here)) if file.is_relative_to(here) else str(Path(*file.parts[-3:]))


def yaml_line(error: MarkedYAMLError) -> str:
    """A file that is no YAML, or gives a key twice, as one line."""
    mark = error.problem_mark or error.context_mark
    what = f"not valid YAML: {' '.join(str(error.problem).split())}"
    return what if mark is None else f"{what} [{short(Path(mark.name))}:{mark.line + 1}, column {mark.column + 1}]"


def _nearest_setting(key: str) -> str:
    """The tail of an error about a key that Hydra's own settings lack."""
    from hydra.conf import HydraConf
    from omegaconf import DictConfig, OmegaConf

    node: Any = OmegaConf.structured(HydraConf)
    for part in key.split(".")[1:]:
        if part not in node:
            return nearest(part, map(str, node))
        below = node._get_node(part)
        if not isinstance(below, DictConfig):
            break
        node = below
    return ""


def choices(repo: Any, group: str) -> list[str]:
    """Names of all configs of a group, those in its folders ("tiny/grpo") included."""
    from hydra.core.object_type import ObjectType

    out = list(repo.get_group_options(group, ObjectType.CONFIG))
    for folder in repo.get_group_options(group, ObjectType.GROUP):
        out += [f"{folder}/{name}" for name in choices(repo, f"{group}/{folder}")]
    return sorted(set(out))


def groups(repo: Any) -> list[str]:
    """Names of the top-level config groups, Hydra's own left out."""
    from hydra.core.object_type import ObjectType

    return sorted(set(repo.get_group_options("", ObjectType.GROUP)) - {"hydra"})
