"""The native engine on Llama-shaped models: prefill and decode steps from their weights, without transformers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..decoder.step import Step
from ..decoder.stream import Stream
from .attention import causal, step_over
from .slots import Slots


class Direct:
    """Prefill and decode steps of a model over slots."""

    def __init__(self, model: Any, slots: Slots, step: Step):
        self.stream, self._step, self._attend = Stream(model, step.weights), step, step_over(slots, step.compiled)

    def prefill(self, ids: Tensor, last: Tensor) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        """Of contexts `ids` [c, P], padded on the right, that end at columns `last` [c]: per layer, keys and values
        [c, kv heads, P, width]; and the logits [c, V] after each."""
        states: list[tuple[Tensor, Tensor]] = []
        count, width = ids.shape

        def attend(q: Tensor, k: Tensor, v: Tensor, window: int | None) -> Tensor:
            q, k, v = (x.view(count, width, x.shape[1], -1).transpose(1, 2) for x in (q, k, v))
            states.append((k, v))
            return causal(q, k, v, window=window).transpose(1, 2).reshape(count * width, -1)

        positions = torch.arange(width, device=ids.device).repeat(count)
        hidden = self.stream.hidden(ids.view(-1), positions, attend)
        ends = torch.arange(count, device=ids.device) * width + last
        return states, self.stream.logits(hidden[ends])

    def step(self, ids: Tensor, positions: Tensor) -> Tensor:
        """Logits [n, V] after one more token `ids` [n] of every active row, at `positions` [n]."""
        return self._step(ids, positions, self._attend)
