"""The module that Hydra scans: the launchers and the sweeper with their configs, under the names of the published plugins."""

from hydra.core.config_store import ConfigStore

from ._confs import JoblibConf, LocalConf, RayConf, SlurmConf
from ._launchers import JoblibLauncher, RayLauncher, SubmititLocalLauncher, SubmititSlurmLauncher
from ._optuna import SAMPLERS, OptunaConf, OptunaSweeper

__all__ = ["JoblibLauncher", "OptunaSweeper", "RayLauncher", "SubmititLocalLauncher", "SubmititSlurmLauncher"]

_store = ConfigStore.instance()
_store.store(group="hydra/launcher", name="joblib", node=JoblibConf, provider="selfevo")
_store.store(group="hydra/launcher", name="submitit_local", node=LocalConf, provider="selfevo")
_store.store(group="hydra/launcher", name="submitit_slurm", node=SlurmConf, provider="selfevo")
_store.store(group="hydra/launcher", name="ray", node=RayConf, provider="selfevo")
_store.store(group="hydra/sweeper", name="optuna", node=OptunaConf, provider="selfevo")
for _name, _sampler in SAMPLERS.items():
    _store.store(group="hydra/sweeper/sampler", name=_name, node={**_sampler, "seed": None}, provider="selfevo")
