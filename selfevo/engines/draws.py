"""Drawing the next token of every running reply, each by its own sampling settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..decoder.compiled import Compiled
from ..protocols import GenerateRequest
from .sampling import distribution, draw, truncate, uniforms


class Draws:
    """Sampling settings of the requests, and the rows that are running. `follow` after each change of the rows."""

    def __init__(self, requests: Sequence[GenerateRequest], device: torch.device, compiled: Compiled | None = None):
        """`compiled`: what draws in place of PyTorch's operations, where nothing is truncated."""

        def column(values: list[Any], dtype: torch.dtype) -> Tensor:
            return torch.tensor(values, dtype=dtype, device=device)

        s = [r.sampling for r in requests]
        self.truncates = any(x.top_p < 1.0 or x.top_k > 0 for x in s)
        self.compiled = None if self.truncates else compiled
        self.samples = any(x.temperature > 0 for x in s)
        self.greedy = any(x.temperature <= 0 for x in s)
        self.scales = any(x.temperature not in (0.0, 1.0) for x in s)
        self.table = {
            "seed": column([r.seed & ((1 << 63) - 1) for r in requests], torch.long),
            "start": column([len(r.context) for r in requests], torch.long),
            "temperature": column([x.temperature for x in s], torch.float32),
            "top_p": column([x.top_p for x in s], torch.float32),
            "top_k": column([x.top_k for x in s], torch.long),
        }

    def follow(self, who: Tensor, step: Tensor) -> None:
        """From now on the rows are those of requests `who` [n], `step` [n] tokens long."""
        self.rows = {name: column[who] for name, column in self.table.items()}
        self.place = self.rows["start"] + step

    def __call__(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n] and their log-probs [n] float32 at each row's temperature, from logits [n, V]; the rows are then a token longer."""
        t, place = self.rows, self.place
        self.place = place + 1
        if self.compiled is not None:
            return self.compiled.draw(logits, t["temperature"], t["seed"], place)
        logp = distribution(logits, t["temperature"]) if self.scales else torch.log_softmax(logits.float(), dim=-1)
        if self.samples:
            p = truncate(logp, t["top_p"], t["top_k"]) if self.truncates else logp.exp()
            tokens = draw(p, uniforms(t["seed"], place))
            if self.greedy:
                tokens = torch.where(t["temperature"] > 0, tokens, logp.argmax(dim=-1))
        else:
            tokens = logp.argmax(dim=-1)
        return tokens, logp.gather(1, tokens.unsqueeze(1)).squeeze(1)
