"""One forward pass over samples: log-probs, entropies and values of response tokens only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError, nearest
from ..passes import device_of, predict
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
    found = predict(model, contexts, [tuple(s.response) for s in samples])
    return Outputs(targets(samples, contexts, found.passed, device_of(model)), found.logits, found.hidden)
