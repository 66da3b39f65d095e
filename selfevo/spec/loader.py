"""Hydra's config loader, which hands out what it composed last once more: a run is checked before Hydra runs it, on the same config."""

from __future__ import annotations

import copy
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.config_search_path import ConfigSearchPath
from hydra.types import RunMode
from omegaconf import DictConfig

from .files import Repository


class Loader(ConfigLoaderImpl):
    """Composes; if told to `remember`, gives a copy of what it composed last for as long as it is asked for the same."""

    def __init__(self, config_search_path: ConfigSearchPath, remember: bool = False):
        super().__init__(config_search_path)
        self.repository = Repository(config_search_path)
        self.remember = remember
        self._asked: tuple[Any, ...] = ()
        self._composed: DictConfig = DictConfig({})

    def load_configuration(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode,
        from_shell: bool = True, validate_sweep_overrides: bool = True,
    ) -> DictConfig:  # fmt: skip
        """The composed config, Hydra's own node included; its caller's to change. Raises what Hydra raises."""
        asked = config_name, tuple(overrides), run_mode
        if asked != self._asked or not self.remember:
            self._composed = super().load_configuration(config_name, overrides, run_mode, from_shell, validate_sweep_overrides)
            self._asked = asked
        return copy.deepcopy(self._composed) if self.remember else self._composed

    @property
    def multirun(self) -> bool:
        """Whether what was composed last, and is remembered, asks to be run as a sweep (`hydra.mode`)."""
        return bool(self._composed.hydra.mode == RunMode.MULTIRUN)
