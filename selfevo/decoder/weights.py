"""The weights of a Llama-shaped model, by what they are for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .model import DecoderLM

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
ROPES = ("default", "linear", "llama3", "yarn")
"""Rotary embeddings that depend on the position alone."""
JOINED = 1 << 25
"""Models of at most this many parameters have the matrices that read the same input copied into one: fewer, larger products."""


@dataclass
class Layer:
    """Of one layer: matrices [inputs, outputs], norm weights, biases (None: there are none).

    `qkv` and `gate_up` hold one joined matrix, or several. `qk_norm` [heads + kv heads, width] weighs the joined queries and keys.
    `window`: columns that a position sees, itself included; None: all before it.
    """

    before: Tensor | None
    qkv: list[Tensor]
    qkv_bias: Tensor | None
    qk_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    after: Tensor | None
    gate_up: list[Tensor]
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    window: int | None


def fits(model: Any) -> bool:
    """Whether these classes compute what the model does.

    Our own, or a known family of transformers; plain linear layers (no adapters, no parameters that live elsewhere); a rotary embedding by
    position alone; no dropout in training; and no automatic mixed precision around the call, whose rounding follows the modules.
    """
    if isinstance(model, DecoderLM):  # made for it
        mixed = torch.is_autocast_enabled(model.lm_head.weight.device.type)
        return not mixed and not any(hasattr(p, "ds_id") for p in model.parameters())
    if type(model).__name__ not in FAMILIES or not type(model).__module__.startswith("transformers.models."):
        return False
    config = model.config
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    dropout = model.training and any(x.self_attn.attention_dropout for x in model.model.layers)
    if config.hidden_act != "silu" or rope not in ROPES or dropout or torch.is_autocast_enabled(next(model.parameters()).device.type):
        return False
    linear = [m for n, m in model.named_modules() if n.endswith(("_proj", "lm_head"))]
    return all(type(m) is nn.Linear for m in linear) and not any(hasattr(p, "ds_id") for p in model.parameters())


def small(model: Any) -> bool:
    """Whether it has at most `JOINED` parameters."""
    return sum(p.numel() for p in model.parameters()) <= JOINED


class Weights:
    """Views of a model's parameters (with gradient where they have one), and joined copies of a small model's."""

    def __init__(self, model: Any):
        inner, config = model.model, model.config
        self.config, self.rotary = config, inner.rotary_emb
        self.width, self.heads, self.kv = inner.layers[0].self_attn.head_dim, config.num_attention_heads, config.num_key_value_heads
        self.eps: float = config.rms_norm_eps
        self.embedding, self.last_norm = inner.embed_tokens, inner.norm.weight
        self.head, self.head_bias = model.lm_head.weight.t(), model.lm_head.bias
        self.join = small(model)
        self.layers = [self._layer(x) for x in inner.layers]

    def rope(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """cos and sin [n, width] at positions [n], with x rotated = x cos + swap(x) sin, where swap exchanges the two halves of x."""
        cos, sin = self.rotary(self.embedding.weight[:1, None], positions[None])
        half = self.width // 2
        return cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], 1)

    def _layer(self, layer: Any) -> Layer:
        attn, mlp = layer.self_attn, layer.mlp
        window = getattr(self.config if self.config.model_type == "mistral" else attn, "sliding_window", None)
        return Layer(
            before=layer.input_layernorm.weight,
            qkv=self._joined(attn.q_proj, attn.k_proj, attn.v_proj),
            qkv_bias=_biases(attn.q_proj, attn.k_proj, attn.v_proj),
            qk_norm=self._qk_norm(attn),
            out=attn.o_proj.weight.t(),
            out_bias=attn.o_proj.bias,
            after=layer.post_attention_layernorm.weight,
            gate_up=self._joined(mlp.gate_proj, mlp.up_proj),
            gate_up_bias=_biases(mlp.gate_proj, mlp.up_proj),
            down=mlp.down_proj.weight.t(),
            down_bias=mlp.down_proj.bias,
            window=window,
        )

    def _joined(self, *layers: nn.Linear) -> list[Tensor]:
        return [torch.cat([x.weight for x in layers]).t()] if self.join else [x.weight.t() for x in layers]

    def _qk_norm(self, attn: Any) -> Tensor | None:
        if not hasattr(attn, "q_norm"):
            return None
        return torch.cat([attn.q_norm.weight.expand(self.heads, -1), attn.k_norm.weight.expand(self.kv, -1)])


def _biases(*layers: nn.Linear) -> Tensor | None:
    return None if layers[0].bias is None else torch.cat([x.bias for x in layers])
