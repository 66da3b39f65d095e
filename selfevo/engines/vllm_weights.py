"""Handing a policy's weights to vLLM: as tensors in memory, or as a folder it reads."""

from __future__ import annotations

import copy
import json
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..policies import is_adapted, text_model
from ..records import digest

if TYPE_CHECKING:
    from torch import Tensor


class Holding:
    """A running vLLM and the weights it has.

    Weights are known by the model object and the policy's version: an optimizer updates in place and changes the version; forks,
    frozen copies and running averages are other objects.
    """

    def __init__(self, policy: Any, length: int, lora: bool, start: Callable[[Path], Any]):
        """`length`: longest context plus reply. `lora`: adapters stay beside their base. `start` makes the engine from a folder."""
        self.length = length
        self.adapter: str | None = None
        self._lora, self._kind = lora, architecture(policy)
        self._sleeping: list[str] = []
        self._folder: Path | None = None
        self._made = 0
        name = digest([self._kind, precision(policy), os.getuid()])  # vLLM finds what it compiled for a model by the folder's name
        with bare(policy, name) if lora else whole(policy, name) as folder:
            self.engine = start(folder)
        self._held = None if lora else _key(policy)
        self._base = weakref.ref(base_tensor(policy)) if lora else None

    def load(self, policy: Any) -> None:
        """Have vLLM awake and with this policy's present weights. Costs nothing when that is so already."""
        fresh = self._held is not None and self._held[0]() is policy.model and self._held[1] == policy.version.ref
        if not fresh and architecture(policy) != self._kind:
            other = f"policy '{policy.name}' is of another architecture than the one this vLLM was started with"
            raise UserError(f"{other}; give it an engine of its own under `engines`, and name that in its role")
        self._wake("weights")
        if not fresh:
            self._held = None  # should this fail half-way, the next load does it again
            if self._lora:
                self._take_adapter(policy)
            else:
                self._take(policy)
            self._held = _key(policy)
        self._wake("kv_cache")

    def rest(self, level: int) -> None:
        """Let go of GPU memory; level 2 forgets the weights too."""
        if not self._sleeping:
            self.engine.sleep(level)
            self._sleeping = ["weights", "kv_cache"]
            if level > 1:
                self._held = self._base = None

    def close(self) -> None:
        """End the engine."""
        try:
            self.engine.close()
        finally:
            self._drop_folder()

    def _wake(self, part: str) -> None:
        if part in self._sleeping:
            self.engine.wake(part)
            self._sleeping.remove(part)

    def _take(self, policy: Any) -> None:
        weights = tensors(policy) if self.engine.in_memory else None
        if weights is not None:
            self.engine.update(weights)
            return
        with whole(policy) as folder:
            self.engine.reload(folder)

    def _take_adapter(self, policy: Any) -> None:
        base, adapted = base_tensor(policy), is_adapted(policy.model)
        if not adapted or self._base is None or self._base() is not base:
            with bare(policy) as folder:
                self.engine.reload(folder)
            self._base = weakref.ref(base)
        self.adapter = None
        self._drop_folder()
        if adapted:
            self._made += 1
            self._folder = scratch()  # stays as long as vLLM may want to read it again
            policy.save(self._folder)
            name = f"{policy.name}-{self._made}"
            self.engine.adapt(name, self._folder)
            self.adapter = name

    def _drop_folder(self) -> None:
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


def _key(policy: Any) -> tuple[weakref.ref[Any], str]:
    return weakref.ref(policy.model), policy.version.ref


PLAIN = ("name_or_path", "_name_or_path", "transformers_version", "dtype", "torch_dtype", "use_cache", "_attn_implementation")
"""Entries of a config that do not tell one architecture from another."""


def architecture(policy: Any) -> str:
    """What must be equal for one vLLM to serve two policies: everything about the model but its numbers, and the tokenizer's size."""
    model = text_model(policy.model)
    config = {k: v for k, v in model.config.to_dict().items() if k not in PLAIN}
    return json.dumps([type(model).__name__, config, len(policy.tokenizer)], sort_keys=True, default=str)


def precision(policy: Any) -> str:
    """ "bfloat16": that of the policy's weights."""
    return str(next(policy.model.parameters()).dtype).removeprefix("torch.")


def base_tensor(policy: Any) -> Any:
    """A tensor that policies with the same base share: adapters of one base can then take turns without handing it over again."""
    named = policy.model.named_parameters()
    return next(p for name, p in named if "lora_" not in name and "modules_to_save" not in name)


def tensors(policy: Any) -> Iterator[tuple[str, Tensor]] | None:
    """The weights under their names in a checkpoint, adapters folded in one at a time. None where only a checkpoint written out tells
    them: adapters of another kind than plain LoRA, parts trained whole."""
    import torch
    from transformers.core_model_loading import revert_weight_conversion

    model = text_model(policy.model)
    if is_adapted(policy.model) and not _plain(policy.model):
        return None
    named = {name.replace(".base_layer.", "."): t for name, t in _saved(model) if ".lora_" not in name}
    written = revert_weight_conversion(model, {name: torch.empty_like(t, device="meta") for name, t in named.items()})
    weights = _folded(policy.model) if is_adapted(policy.model) else ((name, t.detach()) for name, t in named.items())
    if written.keys() == named.keys():
        return weights
    return iter(revert_weight_conversion(model, dict(weights)).items())


def _saved(model: Any) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers that a checkpoint has; of tied ones the first."""
    yield from model.named_parameters()
    for name, buffer in model.named_buffers():
        module, _, leaf = name.rpartition(".")
        if leaf not in model.get_submodule(module)._non_persistent_buffers_set:
            yield name, buffer


def _plain(model: Any) -> bool:
    """Whether the adapter is one of low-rank products beside linear layers and nothing else."""
    from peft.tuners.lora import Linear, LoraLayer

    layers: list[Any] = [module for module in model.modules() if isinstance(module, LoraLayer)]
    whole = [name for name, _ in model.named_parameters() if "modules_to_save" in name or "token_adapter" in name]
    odd = [x for x in layers if not isinstance(x, Linear) or x.lora_variant or any(x.lora_bias.values())]
    return len(model.active_adapters) == 1 and not whole and not odd


def _folded(model: Any) -> Iterator[tuple[str, Tensor]]:
    """W + (alpha / rank) B A for every adapted layer, and every other weight as it is. The policy itself is not touched."""
    base, (adapter,) = model.get_base_model(), model.active_adapters
    for name, t in _saved(base):
        if ".lora_" in name:
            continue
        t = t.detach()
        if name.endswith(".base_layer.weight"):
            layer = base.get_submodule(name.removesuffix(".base_layer.weight"))
            t = (t.float() + layer.get_delta_weight(adapter).detach().float()).to(t.dtype)
        yield name.replace(".base_layer.", "."), t


@contextmanager
def whole(policy: Any, name: str = "") -> Iterator[Path]:
    """A folder with the whole model in the Hugging Face format, adapters folded in; removed afterwards."""
    with _removed(scratch(name)) as path:
        policy.merge(path)
        yield path


@contextmanager
def bare(policy: Any, name: str = "") -> Iterator[Path]:
    """A folder with the model an adapter sits on, without the adapter; removed afterwards."""
    with _removed(scratch(name)) as path:
        model = copy.deepcopy(policy.model).unload() if is_adapted(policy.model) else policy.model
        replace(policy, model=model).save(path)
        yield path


@contextmanager
def _removed(path: Path) -> Iterator[Path]:
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def scratch(name: str = "") -> Path:
    """A new folder in the system's temporary one (TMPDIR moves it), for this user only; called `name` if no folder is."""
    if name:
        path = Path(tempfile.gettempdir()) / f"selfevo-vllm-{name}"
        with suppress(FileExistsError):
            path.mkdir(mode=0o700)
            return path
    return Path(tempfile.mkdtemp(prefix="selfevo-vllm-"))
