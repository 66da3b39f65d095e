"""Policies at run time: named weights with their tokenizer, codec, heads and averages. Importing this module imports no torch."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import StoreError
from .file_tokenizer import FileTokenizer
from .protocols import Codec
from .records import Version

if TYPE_CHECKING:
    from torch import Tensor, nn

MARK = "policy.json"


@dataclass
class LivePolicy:
    """A policy in memory.

    `model` is a causal language model of transformers, possibly wrapped by peft, or a `decoder.model.DecoderLM`, which becomes one when
    it must (`to_transformers`), or None where the replies come from a file (`models.Scripted`). `heads` are extra modules ("value"),
    saved with the policy; `averages` are running averages of the weights ("ema"), which belong to the learner's state and are not.
    `source` is what it was loaded from.
    """

    name: str
    model: Any
    tokenizer: Any
    codec: Codec
    version: Version
    heads: dict[str, nn.Module] = field(default_factory=dict)
    averages: dict[str, nn.Module] = field(default_factory=dict)
    frozen: bool = False
    source: str = ""

    def save(self, dir: str | Path) -> None:
        """Write the Hugging Face format (config, safetensors, tokenizer) and `heads/<name>.safetensors`.

        With a LoRA adapter only the adapter is written, in peft's format, whose config names the base it belongs to;
        `merge(dir)` writes a whole model instead. Equal weights give equal bytes.
        """
        path = Path(dir)
        path.mkdir(parents=True, exist_ok=True)
        if self.model is None:
            (path / MARK).write_text(json.dumps({"source": self.source, "weights": None}) + "\n")
            return
        if is_light(self.model):
            from .decoder import files

            files.save(self.model, path)
        else:
            quiet()
            self.model.save_pretrained(path)
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is not None:  # what the last call happened to pad or cut is no part of the policy, yet it would be written
            backend.no_padding()
            backend.no_truncation()
        self.tokenizer.save_pretrained(path)
        self._save_heads(path)

    def to_transformers(self) -> LivePolicy:
        """This policy, its model and tokenizer now of transformers' classes (around the same tensors) if they were not."""
        if is_light(self.model):
            quiet()
            self.model = self.model.whole()
        if isinstance(self.tokenizer, FileTokenizer):
            self.tokenizer = self.tokenizer.whole()
        return self

    def merge(self, dir: str | Path) -> None:
        """Write the whole model with the adapter folded in (the same as `save` where there is none)."""
        if not is_adapted(self.model):
            return self.save(dir)
        merged = copy.deepcopy(self.model).merge_and_unload()
        replace(self, model=merged, heads=self.heads).save(dir)

    def reload(self, dir: str | Path) -> None:
        """Copy saved weights into this policy's tensors, which stay the same objects (optimizers and engines hold them).

        Heads saved there replace those here; a linear head that is not here yet is built. Raises StoreError where the folder
        holds no policy, or one of another shape.
        """
        path = Path(dir)
        if self.model is None:
            if not (path / MARK).exists():
                raise StoreError(f"{path}: holds no scripted policy (expected {MARK})")
            return
        if not path.is_dir():
            raise StoreError(f"{path}: no saved policy here")
        if is_adapted(self.model):
            self._reload_adapter(path)
        else:
            self._reload_model(path)
        self._reload_heads(path)

    def fork(self, name: str | None = None) -> LivePolicy:
        """A private trainable copy of weights and heads. Base weights under an adapter are shared, since nothing trains them."""
        return replace(
            self,
            name=name or self.name,
            model=copy_model(self.model),
            heads={k: copy.deepcopy(v) for k, v in self.heads.items()},
            averages={},
            frozen=False,
        )

    def clone_frozen(self) -> LivePolicy:
        """A copy that no optimizer may touch: no gradients, evaluation mode."""
        twin = self.fork()
        for module in (twin.model, *twin.heads.values()):
            if module is not None:
                module.eval()
                if not is_adapted(module):
                    module.requires_grad_(False)
                else:
                    for tensor in _own(module):
                        tensor.requires_grad_(False)
        twin.frozen = True
        return twin

    def _save_heads(self, path: Path) -> None:
        from safetensors.torch import save_file

        for name, head in sorted(self.heads.items()):
            (path / "heads").mkdir(exist_ok=True)
            save_file({k: v.detach().contiguous() for k, v in head.state_dict().items()}, path / "heads" / f"{name}.safetensors")

    def _reload_heads(self, path: Path) -> None:
        import torch
        from safetensors.torch import load_file

        for file in sorted((path / "heads").glob("*.safetensors")):
            state = load_file(file)
            head = self.heads.get(file.stem)
            if head is None:
                if "weight" not in state or set(state) > {"weight", "bias"}:
                    raise StoreError(f"{file}: head '{file.stem}' is not linear and not here yet, so it cannot be rebuilt")
                rows, columns = state["weight"].shape
                like = next(self.model.parameters())
                head = torch.nn.Linear(columns, rows, bias="bias" in state, device=like.device, dtype=state["weight"].dtype)
                self.heads[file.stem] = head
            _copy_into(head, state, str(file))

    def _reload_model(self, path: Path) -> None:
        if is_light(self.model):
            return self._reload_light(path)
        load: Any = type(self.model).from_pretrained
        try:
            saved, info = load(path, dtype=self.model.dtype, output_loading_info=True)
        except (OSError, ValueError, RuntimeError) as error:
            raise StoreError(f"{path}: {_line(error)}") from error
        wrong = sorted(map(str, (*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"])))
        _same(wrong, path)
        _copy_into(self.model, saved.state_dict(), str(path))

    def _reload_light(self, path: Path) -> None:
        from safetensors import SafetensorError

        from .decoder import files

        try:
            state = files.tensors(path)
        except (OSError, SafetensorError) as error:
            raise StoreError(f"{path}: {_line(error)}") from error
        mine = dict(self.model.named_parameters())
        _same(_differing(mine, state), path)
        _fill(mine, state)

    def _reload_adapter(self, path: Path) -> None:
        from peft import get_peft_model_state_dict
        from peft.utils.save_and_load import load_peft_weights, set_peft_model_state_dict

        try:
            state = load_peft_weights(str(path), device="cpu")
        except (OSError, ValueError) as error:
            raise StoreError(f"{path}: {_line(error)}") from error
        if set(state) != set(get_peft_model_state_dict(self.model)):
            raise StoreError(f"{path}: the saved adapter does not have the layers of this one")
        set_peft_model_state_dict(self.model, state)


def is_light(model: Any) -> bool:
    """Whether the model is one of ours, made without transformers."""
    return hasattr(model, "whole")


def is_adapted(model: Any) -> bool:
    """Whether peft wraps the model."""
    return hasattr(model, "peft_config")


def copy_model(model: Any) -> Any:
    """A copy of the weights; under an adapter the base tensors are shared with the original."""
    if model is None or not is_adapted(model):
        return copy.deepcopy(model)
    own = {id(t) for t in _own(model)}
    shared = {id(t): t for t in model.parameters() if id(t) not in own}
    return copy.deepcopy(model, shared)


def _own(model: Any) -> Iterator[Tensor]:
    """Tensors of the adapter (peft names them with its prefix; modules trained whole sit in `modules_to_save`)."""
    for name, tensor in model.named_parameters():
        if "lora_" in name or "modules_to_save" in name:
            yield tensor


def _copy_into(module: Any, state: dict[str, Tensor], where: str) -> None:
    mine = module.state_dict()
    wrong = _differing(mine, state)
    if wrong:
        raise StoreError(f"{where}: does not fit this policy ('{wrong[0]}' and {len(wrong) - 1} more tensors differ in name or shape)")
    _fill(mine, state)


def _differing(mine: dict[str, Tensor], state: dict[str, Tensor]) -> list[str]:
    """Names of tensors that only one of them has, or that have another shape."""
    return sorted(k for k in mine.keys() | state.keys() if k not in mine or k not in state or mine[k].shape != state[k].shape)


def _fill(mine: dict[str, Tensor], state: dict[str, Tensor]) -> None:
    """Copy saved tensors into ours, which stay the same objects."""
    import torch

    with torch.no_grad():
        for name, tensor in mine.items():
            tensor.copy_(state[name])


def _same(wrong: list[str], path: Path) -> None:
    """Raises StoreError where tensors differ in name or shape."""
    if wrong:
        raise StoreError(f"{path}: does not hold the tensors of this policy ({len(wrong)} differ: {wrong[0]}, ...)")


def _line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def quiet() -> None:
    """Keep the progress bars of transformers out of logs and tables."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def text_model(model: Any) -> Any:
    """The causal language model of transformers: under an adapter, around a light model's tensors, or the model itself."""
    if is_light(model):
        return model.whole()
    return model.get_base_model() if is_adapted(model) else model


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Evaluation mode inside, the former mode after."""
    was = model.training
    if was:
        model.eval()
    try:
        yield
    finally:
        if was:
            model.train()
