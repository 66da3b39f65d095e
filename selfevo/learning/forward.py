"""One forward pass over samples: log-probs, entropies and values of response tokens only.

Llama-shaped models run over a stream without padding in which equal contexts stand once (`decoder.rows`). For any other model rows are
[context | response | padding]: a causal model never looks right, so padding needs no attention mask and cannot change a result.
Either way the output layer sees only the positions that predict a response token, so no other logits are ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..decoder.rows import distinct, layout
from ..decoder.stream import Stream
from ..decoder.weights import fits
from ..errors import UserError, nearest
from ..policies import text_model
from ..records import Sample

CHUNK = 1 << 24
"""Elements of a float32 softmax held at once, beside the logits themselves."""


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


@dataclass
class Targets:
    """The response tokens of B samples, N in all.

    valid [B, T] bool, True on the N tokens; tokens [N] int64, row by row; temperature [N] float32. `used`: tokens of contexts and
    responses; `passed`: tokens that went through the model, with padding and without what is shared.
    """

    valid: Tensor
    tokens: Tensor
    temperature: Tensor
    used: int
    passed: int

    def spread(self, values: Tensor) -> Tensor:
        """[N, ...] to [B, T, ...], zeros on padding. Differentiable."""
        out = values.new_zeros(*self.valid.shape, *values.shape[1:])
        out[self.valid] = values
        return out


def targets(samples: Sequence[Sample], contexts: Sequence[tuple[int, ...]], passed: int, device: torch.device) -> Targets:
    """Of samples, on a device."""
    lengths = torch.tensor([len(s.response) for s in samples])
    valid = torch.arange(int(lengths.max())) < lengths[:, None]
    tokens = torch.tensor([i for s in samples for i in s.response])
    temperature = torch.tensor([temperature_of(s) for s in samples], dtype=torch.float32).repeat_interleave(lengths)
    used = sum(map(len, contexts)) + int(lengths.sum())
    return Targets(valid.to(device), tokens.to(device), temperature.to(device), used, passed)


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

    targets: Targets
    logits: Tensor
    hidden: Tensor

    def chosen(self) -> tuple[Tensor, Tensor]:
        """Log-probs and entropies (no gradient) [B, T] float32 of the response tokens, 0 on padding."""
        logp, entropy = ChosenLogProb.apply(self.logits, self.targets.tokens, self.targets.temperature)
        return self.targets.spread(logp), self.targets.spread(entropy)

    def full(self) -> Tensor:
        """Log-probs [N, V] float32 of the vocabulary."""
        return (wide(self.logits) / self.targets.temperature.unsqueeze(1)).log_softmax(-1)

    def entropy(self) -> Tensor:
        """[B, T] with gradient, 0 on padding."""
        logp = self.full()
        return self.targets.spread(-(logp.exp() * logp).sum(-1))


def run(model: Any, samples: Sequence[Sample], context: str = "train") -> Outputs:
    """The pass itself, under one of the samples' contexts, for any causal language model of transformers, adapters included."""
    contexts = [context_of(s, context) for s in samples]
    return _stream(model, samples, contexts) if fits(model) else _padded(model, samples, contexts)


def _stream(model: Any, samples: Sequence[Sample], contexts: Sequence[tuple[int, ...]]) -> Outputs:
    responses = [tuple(s.response) for s in samples]
    device = device_of(model)
    place, stream = layout(contexts, responses, device), Stream(model)
    hidden = stream.hidden(place.ids, place.positions, place.attend).index_select(0, place.predicts)
    return Outputs(targets(samples, contexts, distinct(contexts, responses), device), stream.logits(hidden), hidden)


def _padded(model: Any, samples: Sequence[Sample], contexts: Sequence[tuple[int, ...]]) -> Outputs:
    """The output layer's input is narrowed by a hook, so whatever the model does to its logits afterwards (soft-capping, scaling) is
    done."""
    device, lengths = device_of(model), [len(s.response) for s in samples]
    ids = torch.zeros(len(samples), max(len(c) + n for c, n in zip(contexts, lengths, strict=True)), dtype=torch.int64)
    for i, (c, s) in enumerate(zip(contexts, samples, strict=True)):
        ids[i, : len(c) + lengths[i]] = torch.tensor(c + tuple(s.response), dtype=torch.int64)
    rows = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(lengths)).to(device)
    columns = torch.cat([torch.arange(len(c) - 1, len(c) - 1 + n) for c, n in zip(contexts, lengths, strict=True)]).to(device)
    caught: list[Tensor] = []

    def narrow(_: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        caught.append(args[0][rows, columns])
        return (caught[0].unsqueeze(0),)

    hook = text_model(model).get_output_embeddings().register_forward_pre_hook(narrow)
    try:
        logits = model(input_ids=ids.to(device), use_cache=False).logits
    finally:
        hook.remove()
    return Outputs(targets(samples, contexts, ids.numel(), device), logits[0], caught[0])


def device_of(model: Any) -> torch.device:
    """Where its first parameter lives."""
    return next(model.parameters()).device
