"""A policy's body with its reward head, as RewardTrainer and readers of rewards use it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ..errors import UserError
from ..passes import device_of
from ..policies import evaluating, text_model

HEAD = "reward"


class RewardModel(nn.Module):
    """r [B, 1] of token ids [B, L] padded on the right: the head's value of the hidden state at each row's last token."""

    def __init__(self, model: Any, head: nn.Module):
        super().__init__()
        inner = text_model(model)
        self.body, self.head = getattr(inner, inner.base_model_prefix), head
        self.config = copy.deepcopy(model.config)
        self.config.num_labels = 1  # what RewardTrainer asks of a model it did not load itself

    def forward(self, input_ids: Tensor, attention_mask: Tensor, use_cache: bool = False) -> SequenceClassifierOutput:
        """`logits` [B, 1]."""
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask, use_cache=False).last_hidden_state
        last = hidden[torch.arange(len(hidden), device=hidden.device), attention_mask.sum(1) - 1]
        weight = next(self.head.parameters())
        return SequenceClassifierOutput(logits=self.head(last.to(weight.dtype)))  # type: ignore[arg-type]

    def gradient_checkpointing_enable(self, gradient_checkpointing_kwargs: dict[str, Any] | None = None) -> None:
        """As the body does it."""
        self.body.gradient_checkpointing_enable(gradient_checkpointing_kwargs=gradient_checkpointing_kwargs)

    def gradient_checkpointing_disable(self) -> None:
        """As the body does it."""
        self.body.gradient_checkpointing_disable()

    def add_model_tags(self, tags: Any) -> None:
        """Tags are for the Hub."""


def fresh_head(target: Any) -> nn.Linear:
    """A head for the policy: every reward is 0."""
    width = target.model.get_output_embeddings().weight.shape[1]
    head = nn.Linear(width, 1, bias=False, device=device_of(target.model))
    nn.init.zeros_(head.weight)
    return head


@contextmanager
def only(model: Any, trained: bool) -> Iterator[None]:
    """Inside, the model's parameters require no gradient unless they are `trained`; after, they are as before."""
    free = [] if trained else [p for p in model.parameters() if p.requires_grad]
    for p in free:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in free:
            p.requires_grad_(True)


def rewards(policy: Any, rows: Sequence[Sequence[int]], batch: int = 32) -> list[float]:
    """r of each row of token ids (context and response) under a policy's reward head. Raises UserError when it has none."""
    if HEAD not in policy.heads:
        raise UserError(f"policy '{policy.name}' has no reward head: fit one with optimizer=trl/reward")
    policy.to_transformers()
    model, out, device = RewardModel(policy.model, policy.heads[HEAD]), [], device_of(policy.model)
    with evaluating(policy.model), torch.no_grad():
        for start in range(0, len(rows), batch):
            part = rows[start : start + batch]
            width = max(map(len, part))
            ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in part], device=device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in part], device=device)
            out += model(ids, mask).logits[:, 0].tolist()
    return out
