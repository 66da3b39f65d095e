"""One forward pass over contexts and responses: what predicts each response token. The learner and the native engine both use it.

Llama-shaped models run over a stream without padding in which equal contexts stand once (`decoder.rows`). For any other model rows are
[context | response | padding]: a causal model never looks right, so padding needs no attention mask and cannot change a result.
Either way the output layer sees only the positions that predict a response token, so no other logits are ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .decoder.rows import distinct, layout
from .decoder.stream import Stream
from .decoder.weights import fits
from .policies import text_model

Ids = tuple[int, ...]


class Predicted(NamedTuple):
    """Of N response tokens, row by row: `hidden` [N, H], the output layer's input, and `logits` [N, V], before temperature. `passed`:
    tokens that went through the model, with padding and without what is shared."""

    hidden: Tensor
    logits: Tensor
    passed: int


def predict(model: Any, contexts: Sequence[Ids], responses: Sequence[Ids]) -> Predicted:
    """Any causal language model of transformers, adapters included. Contexts and responses are one to one, none of them empty."""
    return (_stream if fits(model) else _padded)(model, contexts, responses, device_of(model))


def _stream(model: Any, contexts: Sequence[Ids], responses: Sequence[Ids], device: torch.device) -> Predicted:
    place, stream = layout(contexts, responses, device), Stream(model)
    hidden = stream.hidden(place.ids, place.positions, place.attend).index_select(0, place.predicts)
    return Predicted(hidden, stream.logits(hidden), distinct(contexts, responses))


def _padded(model: Any, contexts: Sequence[Ids], responses: Sequence[Ids], device: torch.device) -> Predicted:
    """The output layer's input is narrowed by a hook, so whatever the model does to its logits afterwards (soft-capping, scaling) is
    done."""
    ids = torch.zeros(len(contexts), max(len(c) + len(r) for c, r in zip(contexts, responses, strict=True)), dtype=torch.int64)
    for i, (c, r) in enumerate(zip(contexts, responses, strict=True)):
        ids[i, : len(c) + len(r)] = torch.tensor(c + r)
    rows = torch.arange(len(contexts)).repeat_interleave(torch.tensor(list(map(len, responses)))).to(device)
    columns = torch.cat([torch.arange(len(c) - 1, len(c) - 1 + len(r)) for c, r in zip(contexts, responses, strict=True)]).to(device)
    caught: list[Tensor] = []

    def narrow(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0][rows, columns])
        return (caught[0].unsqueeze(0),)

    hook = text_model(model).get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        logits = model(input_ids=ids.to(device), use_cache=False).logits
    finally:
        hook.remove()
    return Predicted(caught[0], logits[0], ids.numel())


def device_of(model: Any) -> torch.device:
    """Where its first parameter lives."""
    return next(model.parameters()).device
