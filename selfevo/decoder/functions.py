"""The parts of a decoder layer between its products, each with a gradient of its own that makes fewer passes over memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import silu


class Norm(torch.autograd.Function):
    """RMSNorm (Zhang & Sennrich 2019): y = w x / sqrt(mean(x^2) + eps) over the last dimension.

    With r = 1 / sqrt(mean(x^2) + eps) and g = dL/dy:  dL/dx = r (g w - x r^2 mean(g w x)),  dL/dw = sum over rows of g x r.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:  # type: ignore[override]
        """x [..., d]; weight [d] or [k, d] (then x is [..., k, d]). Half precision is normalised in float32, as transformers does."""
        wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
        r = torch.linalg.vector_norm(wide, dim=-1, keepdim=True).square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, r)
        return (wide * r).mul_(weight) if wide is x else weight * (wide * r).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:  # type: ignore[override]
        """Gradients of x and the weight."""
        x, weight, r = ctx.saved_tensors
        wide, g, w = x.to(r.dtype), grad.to(r.dtype), weight.to(r.dtype)
        gx = g * wide
        if w.ndim == 1:  # one weight for all: its two sums are products with a vector
            flat = gx.view(-1, len(w))
            sums, dw = torch.mv(flat, w).view(r.shape), torch.mv(flat.t(), r.view(-1))
        else:
            sums, dw = torch.linalg.vecdot(gx, w).unsqueeze(-1), gx.mul(r).view(-1, *w.shape).sum(0)
        dx = (g * r).mul_(w).addcmul_(wide, r.pow(3).mul_(sums).div_(-x.shape[-1]))
        return dx.to(x.dtype), dw.to(weight.dtype), None


class Rotate(torch.autograd.Function):
    """Rotary embedding (Su et al. 2021): x cos + swap(x) sin, with `Weights.rope`'s cos and sin; its transpose turns back."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:  # type: ignore[override]
        """x [n, heads, width]; cos, sin [n, 1, width]."""
        ctx.save_for_backward(cos, sin)
        return turned(x, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:  # type: ignore[override]
        """The rotation by the opposite angle: swap(sin) = -sin."""
        cos, sin = ctx.saved_tensors
        return turned(grad, cos, sin, -1), None, None


def turned(x: Tensor, cos: Tensor, sin: Tensor, sign: int = 1) -> Tensor:
    """x cos + sign swap(x) sin, where swap exchanges the two halves of the last dimension."""
    y, half = x * cos, x.shape[-1] // 2
    y[..., :half].addcmul_(x[..., half:], sin[..., :half], value=sign)
    y[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return y


class Gated(torch.autograd.Function):
    """SwiGLU (Shazeer 2020): silu(gate) up, from [n, 2 I] with gate before up; its gradient is written into one tensor."""

    @staticmethod
    def forward(ctx: Any, both: Tensor) -> Tensor:  # type: ignore[override]
        """[n, I]."""
        gate, up = both.chunk(2, 1)
        act = silu(gate)
        ctx.save_for_backward(both, act)
        return act * up

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
        """[n, 2 I]."""
        both, act = ctx.saved_tensors
        gate, up = both.chunk(2, 1)
        out = torch.empty_like(both)
        half = both.shape[1] // 2
        torch.mul(grad, act, out=out[:, half:])
        torch.ops.aten.silu_backward.grad_input(grad * up, gate, grad_input=out[:, :half])
        return out
