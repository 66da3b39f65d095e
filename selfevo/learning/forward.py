"""One forward pass over packed samples: log-probs, entropies and values of response tokens only.

Rows are [context | response | padding]. A causal model never looks right, so padding needs no attention mask and cannot change a
result; the output layer sees only the positions that predict a response token, so no other logits are ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, nearest
from ..policies import text_model
from ..records import Sample

CHUNK = 1 << 24
"""Elements of a float32 softmax held at once, beside the logits themselves."""


@dataclass
class Packed:
    """B samples on one device, N response tokens in all.

    ids [B, L] int64, zeros behind; valid [B, T] bool, True on the N tokens of the responses; tokens [N] those tokens, row by row;
    rows, columns [N] the positions in `ids` that predict them; temperature [N] float32. `used`: ids that are not padding.
    """

    ids: Tensor
    valid: Tensor
    tokens: Tensor
    rows: Tensor
    columns: Tensor
    temperature: Tensor
    used: int

    def spread(self, values: Tensor) -> Tensor:
        """[N, ...] to [B, T, ...], zeros on padding. Differentiable."""
        out = values.new_zeros(*self.valid.shape, *values.shape[1:])
        out[self.valid] = values
        return out


def context_of(sample: Sample, name: str) -> tuple[int, ...]:
    """A context of a sample; UserError when it has no such context, or an empty one (nothing would predict the first token)."""
    if name not in sample.contexts:
        raise UserError(f"sample {sample.id} has no context '{name}'{nearest(name, sample.contexts)}")
    if not sample.contexts[name]:
        raise UserError(f"sample {sample.id}: its context '{name}' is empty, so nothing predicts the first response token")
    return sample.contexts[name]


def temperature_of(sample: Sample) -> float:
    """The temperature its log-probs are taken at: column `temperature`, 1 when absent or 0 (greedy has no density)."""
    value = sample.columns.get("temperature", 1.0)
    if isinstance(value, tuple):
        raise UserError(f"sample {sample.id}: column 'temperature' must be one number for the row")
    return 1.0 if value == 0 else float(value)


def pack(samples: Sequence[Sample], device: torch.device, context: str = "train") -> Packed:
    """Pad samples into one batch under one of their contexts."""
    contexts = [context_of(s, context) for s in samples]
    lengths = [len(s.response) for s in samples]
    ids = torch.zeros(len(samples), max(len(c) + n for c, n in zip(contexts, lengths, strict=True)), dtype=torch.int64)
    valid = torch.zeros(len(samples), max(lengths), dtype=torch.bool)
    for i, (c, s) in enumerate(zip(contexts, samples, strict=True)):
        ids[i, : len(c) + lengths[i]] = torch.tensor(c + tuple(s.response), dtype=torch.int64)
        valid[i, : lengths[i]] = True
    rows = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(lengths))
    columns = torch.cat([torch.arange(len(c) - 1, len(c) - 1 + n) for c, n in zip(contexts, lengths, strict=True)])
    tokens = ids[rows, columns + 1]
    temperature = torch.tensor([temperature_of(s) for s in samples], dtype=torch.float32)[rows]
    used = sum(map(len, contexts)) + sum(lengths)
    ids, valid, tokens, rows, columns, temperature = (x.to(device) for x in (ids, valid, tokens, rows, columns, temperature))
    return Packed(ids, valid, tokens, rows, columns, temperature, used)


class ChosenLogProb(torch.autograd.Function):
    """log softmax(logits / temperature)[token] and the entropy, in float32 in chunks, without a float32 copy of the logits.

    Source of the gradient: d log p_y / d z_v = (1[v = y] - p_v) / temperature.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, tokens: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """logits [N, V], tokens [N], temperature [N] -> log-probs [N] and entropies [N] (no gradient), float32 (float64 for float64)."""
        chosen = torch.empty(len(tokens), dtype=wide(logits[:0]).dtype, device=logits.device)
        norm, entropy = torch.empty_like(chosen), torch.empty_like(chosen)
        for rows in chunks(logits):
            z = wide(logits[rows]) / temperature[rows].unsqueeze(1)
            norm[rows] = z.logsumexp(1)
            chosen[rows] = z.gather(1, tokens[rows].unsqueeze(1)).squeeze(1) - norm[rows]
            entropy[rows] = norm[rows] - ((z - norm[rows].unsqueeze(1)).exp() * z).sum(1)
        ctx.save_for_backward(logits, tokens, temperature, norm)
        ctx.mark_non_differentiable(entropy)
        return chosen, entropy

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """Gradient of the logits, in their dtype."""
        logits, tokens, temperature, norm = ctx.saved_tensors
        out = torch.empty_like(logits)
        for rows in chunks(logits):
            scale = (grad[rows] / temperature[rows]).unsqueeze(1)
            p = (wide(logits[rows]) / temperature[rows].unsqueeze(1) - norm[rows].unsqueeze(1)).exp()
            part = p.mul_(-scale)
            part.scatter_add_(1, tokens[rows].unsqueeze(1), scale)
            out[rows] = part.to(out.dtype)
        return out, None, None


def wide(logits: Tensor) -> Tensor:
    """In float32, or float64 where they are that."""
    return logits if logits.dtype == torch.float64 else logits.float()


def chunks(logits: Tensor) -> list[slice]:
    """Row slices of at most CHUNK elements."""
    step = max(1, CHUNK // logits.shape[1])
    return [slice(at, at + step) for at in range(0, logits.shape[0], step)]


@dataclass
class Outputs:
    """Of one pass: `logits` [N, V] (the model's dtype, before temperature) and `hidden` [N, H], the output layer's input."""

    packed: Packed
    logits: Tensor
    hidden: Tensor

    def chosen(self) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies (no gradient) [B, T] float32 of the response tokens, 0 on padding."""
        logp, entropy = ChosenLogProb.apply(self.logits, self.packed.tokens, self.packed.temperature)
        return self.packed.spread(logp), self.packed.spread(entropy)

    def full(self) -> Tensor:
        """Log-probs [N, V] float32 of the vocabulary."""
        return (wide(self.logits) / self.packed.temperature.unsqueeze(1)).log_softmax(-1)

    def entropy(self) -> Tensor:
        """[B, T] with gradient, 0 on padding."""
        logp = self.full()
        return self.packed.spread(-(logp.exp() * logp).sum(-1))


def run(model: Any, packed: Packed) -> Outputs:
    """The pass itself, for any causal language model of transformers, adapters included.

    The output layer's input is narrowed by a hook, so whatever the model does to its logits afterwards (soft-capping, scaling) is done.
    """
    caught: list[Tensor] = []

    def narrow(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0][packed.rows, packed.columns])
        return (caught[0].unsqueeze(0),)

    hook = text_model(model).get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        logits = model(input_ids=packed.ids, use_cache=False).logits
    finally:
        hook.remove()
    return Outputs(packed, logits[0], caught[0])


def device_of(model: Any) -> torch.device:
    """Where its first parameter lives."""
    return next(model.parameters()).device
