"""A decode step straight from the weights of a Llama-shaped model.

For small models and short batches most of a step of transformers' modules is Python and many small operations; this is the same
arithmetic (RMSNorm, rotary embedding, grouped attention, gated feed-forward) in about a third of the operations. Prefills and models
of any other shape go through transformers itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm

from .attention import step_attention
from .slots import Slots

FAMILIES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")
JOINED = 1 << 25
"""Models of at most this many parameters have the matrices that read the same input copied into one for each call."""


@dataclass
class Layer:
    """Weights of one layer, matrices transposed for `x @ w`; norms are scaled as `norm` wants them."""

    before: Tensor
    qkv: list[Tensor]
    qkv_bias: Tensor | None
    qk_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    after: Tensor
    gate_up: list[Tensor]
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    window: int | None


def fits(model: Any) -> bool:
    """Whether `Lean` computes what this model does: a known family, plain linear layers (no adapters), static rotary embedding."""
    if type(model).__name__ not in FAMILIES or not type(model).__module__.startswith("transformers.models."):
        return False
    config = model.config
    linear = [m for n, m in model.named_modules() if n.endswith(("_proj", "lm_head"))]
    rope = (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    return config.hidden_act == "silu" and rope in ("default", "linear", "llama3", "yarn") and all(type(m) is nn.Linear for m in linear)


class Lean:
    """The weights as they are now (for one call of `generate`), and the step."""

    def __init__(self, model: Any, length: int):
        """`length`: positions 0..length-1 will be decoded."""
        inner, config = model.model, model.config
        attn = inner.layers[0].self_attn
        self.width, self.heads, self.kv = attn.head_dim, config.num_attention_heads, config.num_key_value_heads
        self.eps, self.dtype = config.rms_norm_eps, inner.embed_tokens.weight.dtype
        self.wide = self.dtype in (torch.float32, torch.float64)
        self.join = sum(p.numel() for p in model.parameters()) <= JOINED
        self.embedding, self.norm_out = inner.embed_tokens, self._norm(inner.norm.weight)
        self.head, self.head_bias = model.lm_head.weight.t(), model.lm_head.bias
        self.layers = [self._layer(x, config) for x in inner.layers]
        positions = torch.arange(length, device=inner.embed_tokens.weight.device)[None]
        cos, sin = inner.rotary_emb(inner.embed_tokens.weight[:1, None], positions)
        half = self.width // 2
        self.cos = cos[0]
        # rotate_half(x) sin = swap(x) [-sin_1, sin_2], with swap exchanging the two halves.
        self.sin = torch.cat([-sin[0, :, :half], sin[0, :, half:]], 1)

    def step(self, ids: Tensor, slots: Slots) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] per active row, at the positions that `slots` was told of."""
        n, d, qk = len(ids), self.width, self.heads + self.kv
        cos, sin = self.cos[slots.positions].unsqueeze(1), self.sin[slots.positions].unsqueeze(1)
        h = self.embedding(ids)
        for index, layer in enumerate(self.layers):
            states = project(self.norm(h, layer.before), layer.qkv, layer.qkv_bias).view(n, qk + self.kv, d)
            x = states[:, :qk]
            if layer.qk_norm is not None:
                x = self.norm(x, layer.qk_norm)
            x = torch.addcmul(x * cos, x.view(n, qk, 2, d // 2).flip(2).view(n, qk, d), sin)
            slots.write(index, x[:, self.heads :], states[:, qk:])
            seen = step_attention(slots, index, x[:, : self.heads], window=layer.window)
            h = added(h, seen.view(n, -1), layer.out, layer.out_bias)
            gate, up = project(self.norm(h, layer.after), layer.gate_up, layer.gate_up_bias).chunk(2, 1)
            h = added(h, nn.functional.silu(gate).mul_(up), layer.down, layer.down_bias)
        return project(self.norm(h, self.norm_out), [self.head], self.head_bias)

    def norm(self, x: Tensor, weight: Tensor) -> Tensor:
        """RMSNorm (Zhang & Sennrich 2019) over the last dimension, with a weight from `_norm`."""
        if not self.wide:  # as transformers rounds: normalised in float32, weighted in the model's own precision
            return weight * rms_norm(x.float(), x.shape[-1:], None, self.eps).to(x.dtype)
        inverse = torch.linalg.vecdot(x, x).add_(x.shape[-1] * self.eps).rsqrt_()
        return (x * inverse.unsqueeze(-1)).mul_(weight)

    def _norm(self, weight: Tensor) -> Tensor:
        """x / sqrt(sum x^2 / w + eps) = sqrt(w) x / sqrt(sum x^2 + w eps), with sqrt(w) put into the weight."""
        return weight * weight.shape[-1] ** 0.5 if self.wide else weight

    def _layer(self, layer: Any, config: Any) -> Layer:
        attn, mlp = layer.self_attn, layer.mlp
        window = getattr(attn, "sliding_window", config.sliding_window if config.model_type == "mistral" else None)
        return Layer(
            before=self._norm(layer.input_layernorm.weight),
            qkv=self._joined(attn.q_proj, attn.k_proj, attn.v_proj),
            qkv_bias=biases(attn.q_proj, attn.k_proj, attn.v_proj),
            qk_norm=self._qk_norm(attn),
            out=attn.o_proj.weight.t(),
            out_bias=attn.o_proj.bias,
            after=self._norm(layer.post_attention_layernorm.weight),
            gate_up=self._joined(mlp.gate_proj, mlp.up_proj),
            gate_up_bias=biases(mlp.gate_proj, mlp.up_proj),
            down=mlp.down_proj.weight.t(),
            down_bias=mlp.down_proj.bias,
            window=window,
        )

    def _joined(self, *layers: nn.Linear) -> list[Tensor]:
        return [torch.cat([x.weight for x in layers]).t()] if self.join else [x.weight.t() for x in layers]

    def _qk_norm(self, attn: Any) -> Tensor | None:
        """[heads + kv heads, width], one row for each head of the joined queries and keys."""
        if not hasattr(attn, "q_norm"):
            return None
        q, k = self._norm(attn.q_norm.weight), self._norm(attn.k_norm.weight)
        return torch.cat([q.expand(self.heads, -1), k.expand(self.kv, -1)])


def biases(*layers: nn.Linear) -> Tensor | None:
    """The biases of layers that read the same input, in one vector; None where there are none."""
    return None if layers[0].bias is None else torch.cat([x.bias for x in layers])


def project(x: Tensor, weights: list[Tensor], bias: Tensor | None) -> Tensor:
    """x @ [weights...] + bias."""
    if len(weights) == 1 and bias is not None:
        return torch.addmm(bias, x, weights[0])
    y = torch.mm(x, weights[0]) if len(weights) == 1 else torch.cat([torch.mm(x, w) for w in weights], 1)
    return y if bias is None else y.add_(bias)


def added(h: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """h + x @ weight + bias: the residual stream is added by the product itself."""
    y = torch.addmm(h, x, weight)
    return y if bias is None else y.add_(bias)
