"""The trainable tensors of a policy with their AdamW state: one optimizer step, snapshot and rollback, state by parameter name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import UserError
from ..policies import copy_model, is_adapted
from ..ranks import Ranks
from .adamw import AdamW


def trainable(target: Any) -> dict[str, torch.nn.Parameter]:
    """Name -> parameter that requires a gradient: "model...." and "heads.<name>....". With adapters these are the adapters alone."""
    named = {f"model.{n}": p for n, p in target.model.named_parameters()}
    for head, module in sorted(target.heads.items()):
        named |= {f"heads.{head}.{n}": p for n, p in module.named_parameters()}
    found = {n: p for n, p in named.items() if p.requires_grad}
    if not found:
        raise UserError(f"policy '{target.name}' has no parameter that requires a gradient, so there is nothing to train")
    return found


def groups_of(tensors: Mapping[str, Tensor], weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: weight decay applies to matrices only."""
    matrices = [t for t in tensors.values() if t.ndim >= 2]
    others = [t for t in tensors.values() if t.ndim < 2]
    groups: list[dict[str, Any]] = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return [g for g in groups if g["params"]]


class Weights:
    """AdamW (Loshchilov & Hutter 2019) over the trainable tensors.

    Half-precision parameters get float32 masters: an update of relative size 2^-9 or less would vanish in bfloat16. Their
    gradients are summed over micro-batches in float32 too. Weight decay applies to matrices only, not to norms and biases.

    `module` is what a pass with gradients calls. `lockstep`: whether every rank must make as many passes as any other.
    """

    lockstep = False

    def __init__(self, target: Any, betas: tuple[float, float], eps: float, weight_decay: float):
        self.params = trainable(target)
        self.module = target.model
        self.steps = 0
        half = {n: p for n, p in self.params.items() if p.dtype in (torch.bfloat16, torch.float16)}
        self.masters = {n: p.detach().float().clone().requires_grad_() for n, p in half.items()}
        self.tensors: dict[str, Tensor] = {n: self.masters.get(n, p) for n, p in self.params.items()}
        self.adam = AdamW(groups_of(self.tensors, weight_decay), betas, eps)

    def renew(self) -> None:
        """Masters follow parameters that were changed from outside (another version was loaded into them)."""
        with torch.no_grad():
            for name, master in self.masters.items():
                p = self.params[name]
                if not torch.equal(master.to(p.dtype), p):
                    master.copy_(p)

    def clear(self) -> None:
        """Forget all gradients."""
        for t in [*self.params.values(), *self.masters.values()]:
            t.grad = None

    def release(self) -> None:
        """Passes with gradients are about to be made, and nothing else reads the policy's weights. They need them all here."""

    def hand_over(self) -> None:
        """The policy's weights are those that are trained."""

    def backward(self, loss: Tensor, last: bool) -> None:
        """Add the gradients of one micro-batch; `last` of the step on this rank."""
        if loss.requires_grad:
            loss.backward()
        for name, master in self.masters.items():
            p = self.params[name]
            if p.grad is not None:
                grad = p.grad.float()
                master.grad = grad if master.grad is None else master.grad.add_(grad)
                p.grad = None

    def gradients(self) -> list[Tensor]:
        """Gradients there are, in parameter order; a tensor no loss reached counts as zero."""
        for t in self.tensors.values():
            if t.grad is None:
                t.grad = torch.zeros_like(t)
        return [t.grad for t in self.tensors.values() if t.grad is not None]

    def reduce(self, ranks: Ranks) -> None:
        """Sum the gradients of all ranks."""
        ranks.add(self.gradients())

    def norm(self) -> float:
        """The global 2-norm of the reduced gradients."""
        return float(torch.nn.utils.get_total_norm(self.gradients(), norm_type=2.0))

    def step(self, lr: float, norm: float, limit: float | None) -> None:
        """One AdamW step at `lr`, with the gradients, whose norm is given, scaled down to a norm of `limit`."""
        if limit is not None and norm > limit:
            torch._foreach_mul_(self.gradients(), limit / norm)
        self.adam.step(lr)
        with torch.no_grad():
            for name, master in self.masters.items():
                self.params[name].copy_(master)
        self.steps += 1
        self.clear()

    def snapshot(self) -> dict[str, Any]:
        """Weights, masters, moments and step count as they are now, in host memory where the weights are not already there."""
        return {"params": {n: p.detach().to("cpu", copy=True) for n, p in self.params.items()}, "state": self.state_dict()}

    def rollback(self, kept: Mapping[str, Any]) -> None:
        """Back to a snapshot."""
        self.clear()
        with torch.no_grad():
            for n, p in self.params.items():
                p.copy_(kept["params"][n])
        self.load_state_dict(kept["state"])

    def state_dict(self) -> dict[str, Any]:
        """{"steps", "moments": name -> {exp_avg, exp_avg_sq, step}, "masters": name -> tensor}, copies on the CPU."""
        seen = {n: self.adam.state[t] for n, t in self.tensors.items() if t in self.adam.state}
        moments = {n: {k: v.detach().to("cpu", copy=True) for k, v in s.items()} for n, s in seen.items()}
        masters = {n: m.detach().to("cpu", copy=True) for n, m in self.masters.items()}
        return {"steps": self.steps, "moments": moments, "masters": masters}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore. Raises ValueError when names or shapes are those of another model."""
        for kind, valid in (("moments", self.tensors), ("masters", self.masters)):
            extra = sorted(set(state[kind]) - set(valid))
            if extra:
                raise ValueError(f"optimizer state has {kind} for '{extra[0]}', which the policy does not train")
        if set(state["masters"]) != set(self.masters):
            raise ValueError("optimizer state lacks the float32 masters of some parameters: it was saved in another precision")
        self.adam.state.clear()
        for n, moments in state["moments"].items():
            t = self.tensors[n]
            if moments["exp_avg"].shape != t.shape:
                raise ValueError(f"optimizer state of '{n}' has shape {tuple(moments['exp_avg'].shape)}, the parameter {tuple(t.shape)}")
            # The step counter stays on the CPU, as AdamW keeps it; the moments go where the parameter is.
            self.adam.state[t] = {k: v.clone() if k == "step" else v.to(t.device, copy=True) for k, v in moments.items()}
        with torch.no_grad():
            for n, m in self.masters.items():
                m.copy_(state["masters"][n])
        self.steps = int(state["steps"])


def fresh_average(target: Any) -> Any:
    """A frozen copy of the model, to become the average of its weights: in float32, or with the base shared under an adapter."""
    average = copy_model(target.model).eval()
    if not is_adapted(average):
        return average.float().requires_grad_(False)
    for name, p in average.named_parameters():
        if f"model.{name}" in trainable(target):
            p.requires_grad_(False)
    return average


def update_average(average: Any, weights: Weights, decay: float) -> None:
    """a <- decay a + (1 - decay) theta for the trained tensors of the model (others do not move)."""
    named = dict(average.named_parameters())
    with torch.no_grad():
        for name, t in weights.tensors.items():
            if name.startswith("model."):
                named[name.removeprefix("model.")].mul_(decay).add_(t.detach(), alpha=1 - decay)
