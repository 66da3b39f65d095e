"""A set of integers below n with uniform draws, in O(log n) per change and draw, whose draws depend on its content only."""

from __future__ import annotations

import random
from array import array


class FenwickSet:
    """Members of 0..n-1, all of them at first (Fenwick 1994: partial sums of 0/1 marks in a binary indexed tree).

    Unlike a swap-and-pop list, equal sets give equal draws however they came about, so a state need only hold the content.
    """

    def __init__(self, n: int):
        self.n, self.count = n, n
        self._marks = bytearray(b"\x01") * n
        self._sums = array("q", (i & -i for i in range(n + 1)))  # a full tree: node i sums its i & -i marks
        self._top = 1 << (n.bit_length() - 1) if n else 0

    def __contains__(self, i: int) -> bool:
        return bool(self._marks[i])

    def __len__(self) -> int:
        return self.count

    def set(self, i: int, member: bool) -> None:
        """Make `i` a member or not."""
        if self._marks[i] == member:
            return
        step = 1 if member else -1
        self._marks[i] = member
        self.count += step
        at = i + 1
        while at <= self.n:
            self._sums[at] += step
            at += at & -at

    def nth(self, k: int) -> int:
        """The k-th smallest member, counted from 0."""
        if not 0 <= k < self.count:
            raise IndexError(k)
        at, step = 0, self._top
        while step:
            if at + step <= self.n and self._sums[at + step] <= k:
                at += step
                k -= self._sums[at]
            step >>= 1
        return at

    def draw(self, rng: random.Random) -> int:
        """A member, uniformly."""
        return self.nth(rng.randrange(self.count))
