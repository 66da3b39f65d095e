"""Products with a model's matrices, whichever way a matrix lies."""

from __future__ import annotations

import torch
from torch import Tensor

FEW, LARGE = 64, 1 << 17
"""Up to so many tokens, and from so many numbers on: where `divided` pays."""


def divided(matrix: Tensor, parts: int) -> Tensor:
    """A large matrix [inputs, outputs] as its transpose in parts [parts, outputs / parts, inputs], a view; others as they are.

    Times few tokens, each thread then reads its part where it lies. Left to itself the BLAS repacks the whole matrix for every product,
    and further threads hardly help.
    """
    if parts < 2 or matrix.numel() < LARGE or matrix.shape[1] % parts:
        return matrix
    return matrix.t().unflatten(0, (parts, -1))


def times(x: Tensor, weight: Tensor) -> Tensor:
    """x [n, inputs] times a matrix, `divided` or not."""
    return torch.mm(x, weight) if weight.ndim == 2 else _by_output(x, weight).contiguous()


def project(x: Tensor, weights: list[Tensor], bias: Tensor | None) -> Tensor:
    """x @ [weights...] + bias."""
    if len(weights) > 1:
        y = torch.cat([times(x, w) for w in weights], 1)
    elif bias is None or weights[0].ndim == 3:
        y = times(x, weights[0])
    else:
        return torch.addmm(bias, x, weights[0])
    return y if bias is None else y.add_(bias)


def added(h: Tensor, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """h + x @ weight + bias."""
    y = torch.addmm(h, x, weight) if weight.ndim == 2 else h + _by_output(x, weight)  # a whole product adds as it goes
    return y if bias is None else y.add_(bias)


def _by_output(x: Tensor, parts: Tensor) -> Tensor:
    """[n, outputs], the n numbers of an output side by side in memory."""
    count, outputs, inputs = parts.shape
    n = len(x)
    columns = x.contiguous().as_strided((count, inputs, n), (0, 1, inputs))  # x' for each part, in one call
    return torch.bmm(parts, columns).as_strided((n, count * outputs), (1, n))
