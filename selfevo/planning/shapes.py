"""What a model is made of: its shape from config.json or from a table of published ones, and how many parameters that makes.

Nothing is downloaded and no weights are read. The table, shapes.json, has the entries of the models' own config.json that count.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from ..errors import UserError, nearest
from ..models import BUNDLED


@dataclass(frozen=True, slots=True)
class Family:
    """What `model_type` stands for. `norms`: norms over the hidden size in a layer; `qk_norm`: over one head's width, or all heads' at
    once; `qkv_bias`: the inputs of attention have biases; `tied`: the embedding is the output layer too, where config.json is silent;
    `stream`: `decoder.weights` computes it without transformers' modules. `wide`: norms keep their result in float32 too."""

    norms: int = 2
    qk_norm: Literal["none", "head", "whole"] = "none"
    qkv_bias: bool = False
    tied: bool = False
    stream: bool = False
    wide: bool = False


FAMILIES = {
    "llama": Family(stream=True),
    "mistral": Family(stream=True),
    "qwen2": Family(qkv_bias=True, stream=True),
    "qwen3": Family(qk_norm="head", stream=True),
    "gemma2": Family(norms=4, tied=True, wide=True),
    "gemma3_text": Family(norms=4, qk_norm="head", tied=True, wide=True),
    "olmo2": Family(qk_norm="whole", wide=True),
    "olmo3": Family(qk_norm="whole", wide=True),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """A decoder of the Llama kind: L layers of attention (H heads and K key-value heads of width d) and a gated MLP of width I, over a
    hidden size D and a vocabulary V. `positions`: its longest context. `half`: its checkpoint holds 16-bit numbers."""

    name: str
    family: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    width: int
    inner: int
    vocabulary: int
    tied: bool
    positions: int
    biases: bool = False
    half: bool = True

    @property
    def traits(self) -> Family:
        """Of its family."""
        return FAMILIES[self.family]

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """(inputs, outputs) of a layer's linear maps, by the names transformers gives them."""
        q, kv = self.heads * self.width, self.kv_heads * self.width
        return {
            "q_proj": (self.hidden, q), "k_proj": (self.hidden, kv), "v_proj": (self.hidden, kv), "o_proj": (q, self.hidden),
            "gate_proj": (self.hidden, self.inner), "up_proj": (self.hidden, self.inner), "down_proj": (self.inner, self.hidden),
        }  # fmt: skip

    @property
    def layer(self) -> int:
        """Parameters of one layer."""
        q, kv = self.heads * self.width, self.kv_heads * self.width
        norms = self.traits.norms * self.hidden + {"none": 0, "head": 2 * self.width, "whole": q + kv}[self.traits.qk_norm]
        bias = (q + 2 * kv if self.traits.qkv_bias or self.biases else 0) + (self.hidden if self.biases else 0)
        return sum(a * b for a, b in self.linears.values()) + norms + bias

    @property
    def embedding(self) -> int:
        """Parameters of the embedding: V D. The output layer has as many, or is the same."""
        return self.vocabulary * self.hidden

    @property
    def parameters(self) -> int:
        """All of them, shared ones once."""
        return self.embedding * (1 if self.tied else 2) + self.layers * self.layer + self.hidden

    @property
    def products(self) -> int:
        """Parameters that every token is multiplied with: the layers, and the output layer; looking up an embedding is no product."""
        return self.layers * self.layer + self.embedding

    @property
    def largest(self) -> int:
        """Parameters of the largest single module."""
        return max(self.embedding, *(a * b for a, b in self.linears.values()))

    @property
    def kv_values(self) -> int:
        """Numbers that the key-value cache holds per token: 2 L K d."""
        return 2 * self.layers * self.kv_heads * self.width


def shape_of(path: str) -> Shape:
    """The shape behind `model.path`: the bundled policy, a folder (an adapter's stands for its base), or a hub id of the table.

    Raises UserError for a model whose shape is not known here, or whose family is not.
    """
    bundled = BUNDLED.get(path.removeprefix("selfevo:"))
    folder = bundled if bundled is not None and not Path(path).is_dir() else Path(path)
    adapter = folder / "adapter_config.json"
    if adapter.is_file():
        return shape_of(str(_read(adapter)["base_model_name_or_path"]))
    if (folder / "config.json").is_file():
        return parse(_read(folder / "config.json"), path)
    if folder.is_dir():
        raise UserError(f"model '{path}': the folder holds no config.json, so its shape is not known")
    if path not in table():
        raise UserError(f"model '{path}': its shape is not known; give a folder that holds its config.json{nearest(path, table(), 6)}")
    return parse(table()[path], path)


@cache
def table() -> Mapping[str, Mapping[str, Any]]:
    """Published shapes by hub id."""
    return _read(Path(__file__).with_name("shapes.json"))


def parse(config: Mapping[str, Any], name: str) -> Shape:
    """The shape that a config.json describes. Raises UserError for a family that is not known, or a missing entry."""
    config = config.get("text_config", config)
    family = str(config.get("model_type"))
    if family not in FAMILIES:
        raise UserError(f"model '{name}': nothing is known of the parameters of model_type '{family}'{nearest(family, FAMILIES)}")
    wanted = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size", "max_position_embeddings")
    absent = [key for key in wanted if not isinstance(config.get(key), int)]
    if absent:
        raise UserError(f"model '{name}': its config.json lacks {absent[0]}")
    heads = config["num_attention_heads"]
    return Shape(
        name, family, config["hidden_size"], config["num_hidden_layers"], heads, config.get("num_key_value_heads") or heads,
        config.get("head_dim") or config["hidden_size"] // heads, config["intermediate_size"], config["vocab_size"],
        bool(config.get("tie_word_embeddings", FAMILIES[family].tied)), config["max_position_embeddings"],
        bool(config.get("attention_bias", False)), str(config.get("dtype") or config.get("torch_dtype") or "bfloat16") != "float32",
    )  # fmt: skip


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error})") from error
