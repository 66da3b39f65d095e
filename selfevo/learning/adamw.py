"""AdamW (Loshchilov & Hutter 2019) over groups of tensors, by PyTorch's own function for a step.

Not `torch.optim.AdamW`: its constructor imports the compiler of PyTorch, a second that every run would wait for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw


class AdamW:
    """`groups`: {"params": tensors, "weight_decay": w} each. `state`: {tensor: {"step", "exp_avg", "exp_avg_sq"}} of tensors stepped."""

    def __init__(self, groups: Sequence[Mapping[str, Any]], betas: tuple[float, float], eps: float):
        self.groups, self.betas, self.eps = [dict(g) for g in groups], betas, eps
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, lr: float) -> None:
        """Move every tensor that has a gradient."""
        for group in self.groups:
            params = [p for p in group["params"] if p.grad is not None]
            self.state |= {p: self._fresh(p) for p in params if p not in self.state}
            states = [self.state[p] for p in params]
            adamw(
                params, [p.grad for p in params], [s["exp_avg"] for s in states], [s["exp_avg_sq"] for s in states], [],
                [s["step"] for s in states], amsgrad=False, beta1=self.betas[0], beta2=self.betas[1], lr=lr,
                weight_decay=group["weight_decay"], eps=self.eps, maximize=False,
            )  # fmt: skip

    @staticmethod
    def _fresh(p: Tensor) -> dict[str, Tensor]:
        """The step counter is kept on the CPU, where reading it waits for nothing."""
        return {"step": torch.tensor(0.0), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
