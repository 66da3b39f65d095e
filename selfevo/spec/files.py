"""Config files read by libyaml, and folders listed by one look at them: Hydra's source of files, quicker."""

from __future__ import annotations

import copy
import os
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_repository import ConfigRepository
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader


class Files(FileConfigSource):
    """A folder of configs. What libyaml cannot read, or what is no config, is left to Hydra, which says what is wrong."""

    def load_config(self, config_path: str) -> ConfigResult:
        """A config and the header of its file. Raises what Hydra raises."""
        try:
            text = Path(self.path, self._normalize_file_name(config_path)).read_text(encoding="utf-8")
            values = yaml.load(text, Loader=reader())
        except (OSError, ValueError, yaml.YAMLError):
            return super().load_config(config_path)
        if not isinstance(values, dict | None):
            return super().load_config(config_path)
        place = f"{self.scheme()}://{self.path}"
        return ConfigResult(self.provider, place, OmegaConf.create(values or {}), ConfigSource._get_header_dict(text[:512]))

    def is_group(self, config_path: str) -> bool:
        """Whether this is a folder."""
        return os.path.isdir(os.path.join(self.path, config_path))

    def is_config(self, config_path: str) -> bool:
        """Whether this is a config's file, with or without its ending."""
        return os.path.isfile(os.path.join(self.path, self._normalize_file_name(config_path)))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Names of the groups or of the configs in a folder, or of both. Raises FileNotFoundError."""
        with os.scandir(os.path.join(self.path, config_path)) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
        groups = {name for name, folder in found if folder and name != "__pycache__"}
        configs = {name.removesuffix(".yaml") for name, folder in found if not folder and name.endswith(".yaml")}
        return sorted({ObjectType.GROUP: groups, ObjectType.CONFIG: configs, None: groups | configs}[results_filter])


@cache
def reader() -> Any:
    """OmegaConf's rules of what is a number, a truth or a key given twice, over libyaml's parser."""
    from yaml._yaml import CParser

    class Reader(CParser, get_yaml_loader()):  # type: ignore[misc]
        def __init__(self, stream: str):
            CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Reader


def quick(source: ConfigSource) -> ConfigSource:
    """The same source, by libyaml where it is one of files and libyaml is there.

    Known by its name: Hydra, as it looks for plugins, executes the modules of its own once more, which makes a second class of each.
    """
    of_files = (FileConfigSource.__module__, FileConfigSource.__qualname__)
    if yaml.__with_libyaml__ and (type(source).__module__, type(source).__qualname__) == of_files:
        return Files(source.provider, source.path)
    return source


class Repository(ConfigRepository):
    """Hydra's view of all folders. Hydra copies it for every config that it composes, for a list of sources that it may change; all that
    plugins have stored would be copied with it, so a copy has the sources themselves."""

    def initialize_sources(self, config_search_path: ConfigSearchPath) -> None:
        """Make the sources, quick ones where they can be."""
        super().initialize_sources(config_search_path)
        self.sources = [quick(source) for source in self.sources]

    def __deepcopy__(self, memo: dict[int, Any]) -> Repository:
        out = copy.copy(self)
        out.sources = list(self.sources)
        return out
