"""What the vLLM engine's tests share: contexts, replies, and the plain forward pass of transformers they are held against."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from selfevo.protocols import Completion, GenerateRequest, Sampling, ScoreRequest

PLAIN = Sampling(24)


def contexts(count: int = 6, seed: int = 0, shortest: int = 3, longest: int = 40) -> list[tuple[int, ...]]:
    """Random ids of the bundled tokenizer's characters."""
    rng = random.Random(seed)
    return [tuple(rng.randrange(6, 102) for _ in range(rng.randint(shortest, longest))) for _ in range(count)]


def drawn(engine: Any, asked: Sequence[tuple[int, ...]], sampling: Sampling = PLAIN) -> list[Completion]:
    """A reply to each context."""
    return engine.generate([GenerateRequest(c, 7 * i, sampling) for i, c in enumerate(asked)])


def forward(policy: Any, context: Sequence[int], tokens: Sequence[int], temperature: float = 1.0) -> Any:
    """Log-probs [T] of the tokens by one plain forward pass of transformers."""
    import torch

    with torch.no_grad():
        logits = policy.model(torch.tensor([[*context, *tokens]])).logits[0].float()
    logp = torch.log_softmax(logits[len(context) - 1 : -1] / temperature, dim=-1)
    return logp.gather(1, torch.tensor([list(tokens)]).T)[:, 0].numpy()


def agree(policy: Any, asked: Sequence[tuple[int, ...]], replies: Sequence[Any], temperature: float = 1.0, within: float = 1e-3) -> None:
    """Every reply's log-probs are those of a forward pass."""
    import numpy as np

    for context, reply in zip(asked, replies, strict=True):
        np.testing.assert_allclose(reply.logprobs, forward(policy, context, reply.tokens, temperature), atol=within, rtol=0)


def moved(policy: Any, by: float = 0.1, seed: int = 1) -> None:
    """Change weights in place, as an optimizer does, and the version with them."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in policy.model.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator) * by * p.std())
    policy.version = replace(policy.version, id=f"{int(policy.version.id) + 1:06d}")


def score_requests(count: int = 5) -> list[ScoreRequest]:
    """Contexts with tokens to score after them."""
    return [ScoreRequest(c, t) for c, t in zip(contexts(count, 3), contexts(count, 4), strict=True)]
