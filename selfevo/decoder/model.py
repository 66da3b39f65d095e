"""A Llama-shaped causal language model that starts without transformers, whose modelling code takes seconds to import.

Its parameters have the names and its files the format of transformers' class, and `decoder.step` and `decoder.stream` compute with it
alone. Whoever wants the class itself gets it around the same tensors: `DecoderLM.whole`; a call of the model goes through it too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

BIASES = {"LlamaForCausalLM": None, "Qwen3ForCausalLM": None, "MistralForCausalLM": False}
"""Of each family, whether attention has biases; None: as `attention_bias` says. Not Qwen2, whose tokenizer transformers makes up."""


class Config:
    """Settings by name, as config.json has them."""

    def __init__(self, values: Mapping[str, Any]):
        self.__dict__.update(values)

    def to_dict(self) -> dict[str, Any]:
        """All of them."""
        return dict(self.__dict__)

    def get_text_config(self) -> Config:
        """These are of text alone."""
        return self


class Linear(nn.Linear):
    """One whose weights come from a file, so that none are drawn."""

    def reset_parameters(self) -> None:
        """Nothing."""


class Embedding(nn.Embedding):
    """One whose weights come from a file, so that none are drawn."""

    def reset_parameters(self) -> None:
        """Nothing."""


class Scale(nn.Module):
    """The weight [width] of an RMSNorm."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))


class Rotary(nn.Module):
    """cos and sin of a rotary embedding by position alone (Su et al. 2021), with base `theta` over `width` dimensions."""

    def __init__(self, width: int, theta: float):
        super().__init__()
        self.width, self.theta = width, theta

    def forward(self, like: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
        """[1, n, width] each, in the precision of `like`, at positions [1, n]."""
        exponents = torch.arange(0, self.width, 2, dtype=torch.float, device=like.device) / self.width
        angles = positions[..., None].float() * (1.0 / self.theta**exponents)
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


class Attention(nn.Module):
    """The projections of one layer's attention."""

    def __init__(self, config: Any):
        super().__init__()
        hidden, self.head_dim = config.hidden_size, head_width(config)
        heads, kv = config.num_attention_heads * self.head_dim, config.num_key_value_heads * self.head_dim
        told = BIASES[config.architectures[0]]
        bias = getattr(config, "attention_bias", False) if told is None else told
        self.q_proj, self.k_proj = Linear(hidden, heads, bias), Linear(hidden, kv, bias)
        self.v_proj, self.o_proj = Linear(hidden, kv, bias), Linear(heads, hidden, bias)
        if config.architectures[0].startswith("Qwen3"):
            self.q_norm, self.k_norm = Scale(self.head_dim), Scale(self.head_dim)


class Gate(nn.Module):
    """The projections of one layer's SwiGLU."""

    def __init__(self, config: Any):
        super().__init__()
        hidden, inner, bias = config.hidden_size, config.intermediate_size, getattr(config, "mlp_bias", False)
        self.gate_proj, self.up_proj = Linear(hidden, inner, bias), Linear(hidden, inner, bias)
        self.down_proj = Linear(inner, hidden, bias)


class Layer(nn.Module):
    """One layer's parameters."""

    def __init__(self, config: Any):
        super().__init__()
        self.self_attn, self.mlp = Attention(config), Gate(config)
        self.input_layernorm, self.post_attention_layernorm = Scale(config.hidden_size), Scale(config.hidden_size)


class Body(nn.Module):
    """All parameters but the output layer's."""

    def __init__(self, config: Any):
        super().__init__()
        self.embed_tokens = Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.norm = Scale(config.hidden_size)
        self.rotary_emb = Rotary(head_width(config), config.rope_theta)


class DecoderLM(nn.Module):
    """The model. `config` and `generation_config` are what the files of those names hold."""

    def __init__(self, config: Mapping[str, Any], generation: Mapping[str, Any]):
        super().__init__()
        self.config = Config(config)
        self.generation_config = Config({"eos_token_id": config.get("eos_token_id"), **generation})
        self.model = Body(Config({**config, "rope_theta": theta(config)}))
        self.lm_head = Linear(config["hidden_size"], config["vocab_size"], bias=False)
        if config.get("tie_word_embeddings", False):
            self.lm_head.weight = self.model.embed_tokens.weight
        self.is_gradient_checkpointing = False
        self._whole: list[Any] = []

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters."""
        return self.lm_head.weight.dtype

    def get_output_embeddings(self) -> nn.Linear:
        """The output layer."""
        return self.lm_head

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: Any = None) -> None:
        """Recompute activations in the backward pass from now on."""
        self.is_gradient_checkpointing = True

    def gradient_checkpointing_disable(self) -> None:
        """Keep them."""
        self.is_gradient_checkpointing = False

    def whole(self) -> Any:
        """transformers' own class around the same parameters: what changes one changes the other."""
        if not self._whole:
            from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

            config = AutoConfig.for_model(**self.config.to_dict())
            with torch.random.fork_rng(devices=[]):  # weights are drawn, only to be replaced
                model = AutoModelForCausalLM.from_config(config, dtype=self.dtype, attn_implementation="sdpa")
            for name, parameter in self.named_parameters(remove_duplicate=False):
                module, _, leaf = name.rpartition(".")
                setattr(model.get_submodule(module), leaf, parameter)
            model.generation_config = GenerationConfig(**self.generation_config.to_dict())
            self._whole.append(model.to(self.lm_head.weight.device).train(self.training))
        return self._whole[0]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What transformers' class answers; see `whole`."""
        return self._in_this_mode()(*args, **kwargs)

    def generate(self, *args: Any, **kwargs: Any) -> Any:
        """What transformers' class generates; see `whole`."""
        return self._in_this_mode().generate(*args, **kwargs)

    def _in_this_mode(self) -> Any:
        """transformers' class, training or not and recomputing activations or not as this model is."""
        model = self.whole().train(self.training)
        if self.is_gradient_checkpointing:
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        else:
            model.gradient_checkpointing_disable()
        return model

    def __getstate__(self) -> dict[str, Any]:
        """A copy has tensors of its own, and makes a class of its own around them."""
        return {**self.__dict__, "_whole": []}


def head_width(config: Any) -> int:
    """Dimensions of a head."""
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def theta(config: Mapping[str, Any]) -> float:
    """The base of the rotary embedding."""
    return float((config.get("rope_parameters") or config)["rope_theta"])
