"""What lies between the products of a decode step, in C.

Where a product has a row or two, as attention to a cache does, PyTorch takes twice as long as memory needs to give the keys; and what
takes it some forty calls a layer are four here. Without a compiler a step is the same, up to rounding, and slower.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .between import Between
from .building import WIDEST, Absent, library
from .weights import Weights

TYPES = {torch.float32: "float", torch.float64: "double"}
THREADS, SHORT = 2, 1024
"""One thread of C is no slower than so many of PyTorch's (as measured), nor than more of them where replies are few and at most so long
(as reckoned: no machine with more was at hand)."""


def compiled(w: Weights, length: int, few: bool) -> Compiled | None:
    """For a model's steps at positions 0..length-1, of few tokens each or not, where C can be had and is not slower; else None."""
    weight = w.embedding.weight
    if weight.device.type != "cpu" or weight.dtype not in TYPES or w.width > WIDEST:
        return None
    if torch.get_num_threads() > THREADS and not (few and w.join and length <= SHORT):
        return None
    try:
        return Compiled(w, length)
    except Absent:  # `selfevo doctor` and a run's environment.json say why
        return None


class Compiled(Between):
    """As `Between`, for float32 and float64 on a CPU, in one thread; and attention to a cache of keys and values."""

    def __init__(self, w: Weights, length: int):
        """Raises Absent."""
        self._c = library(TYPES[w.embedding.weight.dtype])
        super().__init__(w, length)

    def norm(self, x: Tensor, weight: Tensor | None) -> Tensor:
        """As of `Between`, of x [n, d]."""
        x = x.contiguous()  # what the BLAS gave for a divided matrix lies the other way
        (n, d), y = x.shape, torch.empty_like(x)
        self._c.normed(n, d, x.data_ptr(), _place(weight), d * self.eps, y.data_ptr())
        return y

    def at(self, positions: Tensor) -> Tensor:
        """As of `Between`."""
        return positions

    def turn(self, states: Tensor, qk_norm: Tensor | None, by: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As of `Between`, in place: q, k and v are views of `states`."""
        states = states.contiguous()
        n, row = states.shape
        self._c.turned(
            n, self.heads + self.kv, self.width, states.data_ptr(), row, _place(qk_norm), self.width * self.eps, self.cos.data_ptr(),
            self.sin.data_ptr(), by.data_ptr(),
        )  # fmt: skip
        q, k, v = states.view(n, -1, self.width).split_with_sizes([self.heads, self.kv, self.kv], 1)
        return q.view(n, self.kv, -1, self.width), k, v

    def gate(self, both: Tensor) -> Tensor:
        """As of `Between`."""
        both = both.contiguous()
        n, width = both.shape[0], both.shape[1] // 2
        y = both.new_empty(n, width)
        self._c.gated(n, width, both.data_ptr(), y.data_ptr())
        return y

    def attend(
        self, q: Tensor, k: Tensor, v: Tensor, keys: Tensor, values: Tensor, column: int, positions: Tensor, window: int | None
    ) -> Tensor:
        """Stores what `turn` gave for the new tokens in `column` of the cache [n, kv heads, columns, width], and gives what the queries see
        of the last positions + 1 columns, at most `window`: [n, heads * width]."""
        n, kv, shared, d = q.shape
        out, scores = q.new_empty(n, kv * shared * d), q.new_empty(shared * (column + 1))
        self._c.attended(
            n, kv, shared, d, q.data_ptr(), k.data_ptr(), v.data_ptr(), q.stride(0), keys.data_ptr(), values.data_ptr(), keys.stride(0),
            keys.stride(1), column, positions.data_ptr(), column + 1 if window is None else window, d**-0.5, scores.data_ptr(),
            out.data_ptr(),
        )  # fmt: skip
        return out

    def draw(self, logits: Tensor, temperature: Tensor, seeds: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [n] and their log-probs [n] float32 from logits [n, V], untruncated: as `engines.sampling` draws them, up to rounding."""
        logits = logits.contiguous()
        (n, size), tokens, logps = logits.shape, seeds.new_empty(len(seeds)), temperature.new_empty(len(seeds))
        weights = temperature.new_empty(size)
        self._c.drawn(
            n, size, logits.data_ptr(), temperature.data_ptr(), seeds.data_ptr(), places.data_ptr(), weights.data_ptr(), tokens.data_ptr(),
            logps.data_ptr(),
        )  # fmt: skip
        return tokens, logps


def _place(x: Tensor | None) -> int | None:
    return None if x is None else x.data_ptr()
