"""Drawing tokens: temperature, top-k, top-p, and uniforms that depend on (seed, position) and nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

_GOLDEN = 0x9E3779B97F4A7C15
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift(x: Tensor, bits: int) -> Tensor:
    """Logical right shift of int64 (the built-in one repeats the sign)."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """The output function of splitmix64 (Steele, Lea, Flood 2014, fig. 16) on wrapping int64."""
    x = (x ^ _shift(x, 30)) * _signed(_MIX[0])
    x = (x ^ _shift(x, 27)) * _signed(_MIX[1])
    return x ^ _shift(x, 31)


def uniforms(seeds: Tensor, positions: Tensor) -> Tensor:
    """Numbers in [0, 1), float64 [n], one per (seed, position) of int64 [n]: stream `seed` of splitmix64, scrambled, at `position`.

    A counter in place of a generator's state: no draw depends on which other rows are in the batch or how far they are.
    """
    golden = _signed(_GOLDEN)
    bits = _mix(_mix(seeds + golden) + (positions + 1) * golden)
    return _shift(bits, 11).double() * 2.0**-53


def distribution(logits: Tensor, temperature: Tensor) -> Tensor:
    """Log-probs [n, V], float32, at each row's temperature; rows at temperature 0 (greedy) at temperature 1."""
    scale = torch.where(temperature > 0, temperature, 1.0).unsqueeze(1)
    return torch.log_softmax(logits.float() / scale, dim=-1)


def truncate(logp: Tensor, top_p: Tensor, top_k: Tensor) -> Tensor:
    """Probabilities [n, V] (not renormalised) of the tokens that top-k, then top-p, leave; the most likely always stays.

    top-k (0 is off) keeps the k most likely. top-p (Holtzman et al. 2020, section 3.1), on the renormalised rest, keeps the
    smallest set of most likely tokens whose mass reaches p. Ties go to the lower id.
    """
    value, order = logp.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(logp.shape[1], device=logp.device)
    k = torch.where(top_k > 0, top_k, logp.shape[1]).unsqueeze(1)
    p = torch.where(rank < k, value.exp(), 0.0)
    before = p.double().cumsum(-1) - p
    keep = (before < top_p.double().unsqueeze(1) * p.double().sum(-1, keepdim=True)) | (rank == 0)
    p = torch.where(keep, p, 0.0)
    return torch.zeros_like(logp).scatter_(1, order, p)


def draw(p: Tensor, u: Tensor) -> Tensor:
    """Token ids [n] by inverting the cumulative distribution in id order: the first id whose cumulative mass exceeds u * total."""
    mass = p.double().cumsum(-1)
    return torch.searchsorted(mass, (u * mass[:, -1]).unsqueeze(1), right=True).squeeze(1).clamp_(max=p.shape[1] - 1)
