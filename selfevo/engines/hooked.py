"""The native engine on any model of transformers with plain attention: its layers call our attention while the engine runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, Cache

from ..errors import EngineError, UserError
from ..policies import text_model
from .attention import causal, step_attention
from .slots import Slots

NAME = "selfevo_slots"

_current: ContextVar[tuple[Hooked, bool]] = ContextVar("selfevo_slots")


def check(model: Any) -> None:
    """Raises EngineError for a model whose attention is not the plain full or sliding kind that `attention` computes."""
    inner = text_model(model)
    config = inner.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - {"full_attention", "sliding_attention"}
    odd = "chunked attention" if getattr(config, "attention_chunk_size", None) else ", ".join(sorted(kinds))
    if not odd and not getattr(inner, "_supports_attention_backend", False):
        odd = "an attention of its own"
    if odd:
        raise EngineError(f"the native engine does not serve {type(inner).__name__} ({odd}); use engine=vllm")


class Hooked(Cache):
    """Prefill and decode steps of a model over slots, as the cache that its layers hand keys and values to.

    In a prefill the states only pass through and are captured. Raises EngineError for a model that cannot be served (`check`).
    """

    def __init__(self, model: Any, slots: Slots):
        super().__init__(layers=[])
        check(model)
        self.model, self.slots, self.layer = model, slots, 0
        self.captured: list[tuple[Tensor, Tensor]] | None = None

    def prefill(self, ids: Tensor, last: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Of contexts `ids` [c, P], padded on the right, that end at columns `last` [c]: per layer, keys and values
        [c, kv heads, P, width]; and the logits [c, V] after each."""
        rows, positions = torch.arange(len(ids), device=ids.device), torch.arange(ids.shape[1], device=ids.device).expand(len(ids), -1)
        states = self.captured = []
        with self._attending():
            logits = logits_at(self.model, rows, last, input_ids=ids, position_ids=positions, past_key_values=self, use_cache=True)
        self.captured = None
        return states, logits

    def step(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] of every active row, at `positions` [n]."""
        with self._attending():
            found = self.model(input_ids=ids[:, None], position_ids=positions[:, None], past_key_values=self, use_cache=True)
        return found.logits[:, -1]

    @contextmanager
    def _attending(self) -> Iterator[None]:
        """Inside, the model's attention is ours; after, it is what it was."""
        config = text_model(self.model).config
        own = config._attn_implementation
        token = _current.set((self, own == "sdpa"))
        config._attn_implementation = NAME
        try:
            yield
        finally:
            config._attn_implementation = own
            _current.reset(token)

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Called by a layer with its new keys and values [n, heads, T, width]; in a decode step `attention` reads the slots itself."""
        if self.captured is None:
            self.slots.write(layer_idx, key_states[:, :, 0], value_states[:, :, 0])
            self.layer = layer_idx
        elif len(self.captured) != layer_idx:
            raise EngineError("the native engine serves models whose every layer is plain attention; use engine=vllm for this one")
        else:
            self.captured.append((key_states, value_states))
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Positions are always passed to the model, so nothing is inferred from this."""
        return 0


def logits_at(model: Any, rows: Tensor, columns: Tensor, **inputs: Any) -> Tensor:
    """Logits [N, V] at N chosen positions of a batch: the output layer never sees the others, so memory is N x V, not B x T x V.

    `rows` and `columns` [N] index the batch and the position; `inputs` go to the model. Whatever the model does to its logits
    (soft-capping, scaling) is done, since only the output layer's input is narrowed. Differentiable.
    """
    head = text_model(model).get_output_embeddings()
    if head is None:
        raise UserError(f"the model {type(model).__name__} has no output layer: a causal language model is needed")
    hook = head.register_forward_pre_hook(lambda _, args: (args[0][rows, columns][None],))
    try:
        return model(**inputs).logits[0]
    finally:
        hook.remove()


def attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_bias: Tensor | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of one layer, in the calling convention of transformers: query [n, H, T, d] in, [n, T, H, d] out."""
    now, ignores_softcap = _current.get()
    if s_aux is not None or position_bias is not None:
        raise EngineError("the native engine does not serve models with attention sinks or position biases; use engine=vllm")
    cap = None if ignores_softcap else softcap
    if now.captured is None:
        q = query.view(len(query), key.shape[1], -1, query.shape[-1])  # one position: query heads that share keys
        return step_attention(now.slots, now.layer, q, scaling, sliding_window, cap).unsqueeze(1), None
    return causal(query, key, value, scaling, sliding_window, cap).transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, attention)
