"""Reading and writing a `DecoderLM` as transformers does, without importing it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .model import BIASES, DecoderLM

CONFIG, GENERATION, WEIGHTS = "config.json", "generation_config.json", "model.safetensors"


def read(folder: str | Path, dtype: torch.dtype | None = None) -> DecoderLM | None:
    """A folder's model on the CPU, in evaluation mode; `dtype` None: what its config says, else what the file holds. None where the file
    does not hold exactly the tensors of a model that `DecoderLM` computes as its own class does (`_plain`)."""
    path = Path(folder)
    if not (path / CONFIG).is_file() or not (path / WEIGHTS).is_file():
        return None
    config = _json(path / CONFIG)
    if not _plain(config):
        return None
    with torch.device("meta"):
        model = DecoderLM(config, _json(path / GENERATION) if (path / GENERATION).is_file() else {})
    if _header(path / WEIGHTS) != {name: list(p.shape) for name, p in model.named_parameters()}:
        return None
    state, said = tensors(path), config.get("dtype") or config.get("torch_dtype")
    wanted = dtype or (getattr(torch, said) if said else next(iter(state.values())).dtype)
    model.load_state_dict({name: tensor.to(wanted) for name, tensor in state.items()}, assign=True, strict=False)
    if config.get("tie_word_embeddings", False):
        model.lm_head.weight = model.model.embed_tokens.weight
    return model.eval()


def _plain(config: Mapping[str, Any]) -> bool:
    """Whether a config is of a known family with plain attention and rotary embeddings by position alone, unquantised, without dropout."""
    rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta")}
    return bool(
        (config.get("architectures") or [None])[0] in BIASES
        and config.get("hidden_act") == "silu"
        and set(rope) <= {"rope_type", "rope_theta"} and rope.get("rope_type", "default") == "default" and rope.get("rope_theta")
        and not any(config.get(key) for key in ("rope_scaling", "quantization_config", "attention_dropout", "auto_map"))
        and not _windowed(config)
        and all(config.get(key) is not None for key in ("num_key_value_heads", "rms_norm_eps", "max_position_embeddings"))
    )  # fmt: skip


def tensors(folder: str | Path) -> dict[str, Tensor]:
    """{name: tensor} of a model's file. Raises what safetensors does (OSError, SafetensorError) where there is none that can be read."""
    from safetensors.torch import load_file

    return load_file(Path(folder) / WEIGHTS)


def save(model: DecoderLM, folder: Path) -> None:
    """Write config, generation config and weights."""
    from safetensors.torch import save_file

    config = model.config.to_dict()
    key = "torch_dtype" if "torch_dtype" in config else "dtype"
    _write(folder / CONFIG, {**config, key: str(model.dtype).removeprefix("torch.")})
    _write(folder / GENERATION, model.generation_config.to_dict())
    state = {name: p.detach().contiguous() for name, p in model.named_parameters()}  # tied tensors come once
    save_file(state, folder / WEIGHTS, metadata={"format": "pt"})


def _header(file: Path) -> dict[str, list[int]]:
    """{name: shape} of what a file holds."""
    from safetensors import safe_open

    with safe_open(file, framework="pt") as held:
        return {name: held.get_slice(name).get_shape() for name in held.keys()}  # noqa: SIM118  (it is no dict)


def _windowed(config: Mapping[str, Any]) -> bool:
    """Whether any layer may look back over a window only."""
    if set(config.get("layer_types") or ()) - {"full_attention"}:
        return True
    return config.get("sliding_window") is not None and (config.get("model_type") == "mistral" or bool(config.get("use_sliding_window")))


def _json(file: Path) -> dict[str, Any]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def _write(file: Path, values: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
