"""Log-probs of given tokens under a policy, batched by length, with the output layer on the scored positions only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..passes import device_of, predict
from ..policies import evaluating
from ..protocols import ScoreRequest, TokenScores

LOGITS = 1 << 28
"""Most logits (float32) of one forward pass."""


def score(policy: Any, requests: Sequence[ScoreRequest], want: str, k: int, budget: int) -> list[TokenScores]:
    """`TokenScores` per request, in order; `budget` is the padded tokens of a forward pass."""
    model = policy.model
    vocabulary = model.get_output_embeddings().weight.shape[0]
    out: list[TokenScores | None] = [None] * len(requests)
    with evaluating(model), torch.no_grad():
        for batch in _batches(requests, budget, max(1, LOGITS // vocabulary)):
            chosen = [requests[i] for i in batch]
            for i, scores in zip(batch, _forward(model, chosen, want, min(k, vocabulary)), strict=True):
                out[i] = scores
    return [s for s in out if s is not None]


def _batches(requests: Sequence[ScoreRequest], budget: int, positions: int) -> Iterator[list[int]]:
    """Indices of requests of like length, longest first; ties ordered by content, so that the caller's order changes nothing."""
    lengths = [len(r.context) + len(r.tokens) for r in requests]
    batch: list[int] = []
    width = scored = 0
    for i in sorted(range(len(requests)), key=lambda i: (-lengths[i], requests[i].context, requests[i].tokens)):
        length, tokens = lengths[i], len(requests[i].tokens)
        if batch and (width * (len(batch) + 1) > budget or scored + tokens > positions):
            yield batch
            batch = []
        if not batch:
            width, scored = length, 0
        batch.append(i)
        scored += tokens
    if batch:
        yield batch


def _forward(model: Any, requests: Sequence[ScoreRequest], want: str, k: int) -> list[TokenScores]:
    device, asked = device_of(model), [r for r in requests if r.tokens]
    target = torch.tensor([i for r in requests for i in r.tokens], dtype=torch.long, device=device)
    scales = [r.temperature if r.temperature > 0 else 1.0 for r in requests for _ in r.tokens]
    scale = torch.tensor(scales, dtype=torch.float32, device=device)
    if asked:
        logits = predict(model, [r.context for r in asked], [r.tokens for r in asked]).logits
    else:
        logits = torch.zeros(0, model.get_output_embeddings().weight.shape[0], device=device)
    logp = torch.log_softmax(logits.float() / scale.unsqueeze(1), dim=-1)
    picked = logp.gather(1, target.unsqueeze(1)).squeeze(1)
    counts = [len(r.tokens) for r in requests]
    parts = {"logprobs": picked}
    if want == "topk":
        parts["topk"], parts["ids"] = logp.topk(k, dim=-1)
        parts["tail"] = _tail(logp, parts["ids"])
    elif want == "full":
        parts["full"] = logp
    split = {name: _split(tensor, counts) for name, tensor in parts.items()}
    return [TokenScores(**{name: arrays[i] for name, arrays in split.items()}) for i in range(len(requests))]


def _tail(logp: Tensor, ids: Tensor) -> Tensor:
    """Log of the mass outside `ids`: summed over the rest rather than taken from 1, which would lose small tails."""
    return logp.scatter(1, ids, -torch.inf).logsumexp(dim=-1)


def _split(tensor: Tensor, counts: Sequence[int]) -> list[np.ndarray]:
    array = tensor.cpu().numpy()
    array = array.astype(np.int32 if array.dtype.kind == "i" else np.float32, copy=False)
    return np.split(array, np.cumsum(counts)[:-1])
