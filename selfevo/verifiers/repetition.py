"""How much of a batch says nearly the same: the share of the cluster that a text belongs to."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row
from .answers import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Repetition:
    """rep_i = (rows in the cluster of row i) / (rows that hold a text), the diversity penalty of R-Zero (Huang et al. 2025) and Agent0
    (Xia et al. 2025, arXiv:2511.16043).

    Clusters by average linkage on the distance 1 - BLEU, merged while the closest two are nearer than `distance`. N equal texts give 1
    each, N unlike ones 1/N. BLEU is not symmetric: the mean of both directions is taken, so that the order of rows does not matter. Words
    are runs of letters and digits, and every other sign. A row without a text gets 0 and counts for nobody. Metric: "repetition/clusters".

    Args:
        pattern: regex that finds the text, group 1 where it has groups; null takes the whole reply.
        distance: see above.
    """

    scope: Literal["row", "group", "batch"] = "batch"

    def __init__(self, pattern: str | None = None, distance: float = 0.5):
        if not 0 < distance <= 1:
            raise UserError(f"repetition: distance is {distance}; expected above 0, at most 1")
        self.pattern, self.distance = None if pattern is None else compiled(pattern), distance

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows, in order, with the share under `ctx.name`; equal texts are compared once."""
        found = [self._text(row.trajectory.text) for row in rows]
        counts = Counter(text for text in found if text is not None)
        sizes = cluster_sizes(list(counts), list(counts.values()), self.distance)
        ctx.log("repetition/clusters", sum(n / sizes[text] for text, n in counts.items()))
        return [row.rewarded(ctx.name, 0.0 if t is None else sizes[t] / counts.total()) for row, t in zip(rows, found, strict=True)]

    def _text(self, text: str) -> str | None:
        if self.pattern is None:
            return text
        match = self.pattern.search(text)
        return None if match is None else match.group(1 if self.pattern.groups else 0)


def cluster_sizes(texts: Sequence[str], counts: Sequence[int], distance: float) -> dict[str, int]:
    """Rows in the cluster of each of the distinct texts, which stand for `counts` rows each."""
    import numpy as np

    words = [re.findall(r"\w+|[^\w\s]", text) for text in texts]
    n = len(texts)
    apart: NDArray[np.float64] = np.full((n, n), np.inf)
    for i in range(n):
        for j in range(i):
            apart[i, j] = apart[j, i] = 1 - (bleu(words[i], words[j]) + bleu(words[j], words[i])) / 2
    size, members = np.array(counts, dtype=float), [[i] for i in range(n)]
    while n > 1:
        i, j = divmod(int(apart.argmin()), len(texts))
        if not apart[i, j] < distance:
            break
        joined = (size[i] * apart[i] + size[j] * apart[j]) / (size[i] + size[j])  # mean distance between the rows of two clusters
        apart[i], apart[:, i] = joined, joined
        apart[i, i] = apart[j] = np.inf
        apart[:, j] = np.inf
        size[i] += size[j]
        members[i] += members[j]
        members[j], n = [], n - 1
    return {texts[k]: int(size[i]) for i, cluster in enumerate(members) for k in cluster}


def bleu(said: Sequence[str], reference: Sequence[str], longest: int = 4) -> float:
    """BLEU of one sentence against one reference (Papineni et al. 2002), no match of n words counting 0.1 (method 1 of Chen and Cherry
    2014): brevity penalty times the geometric mean of clipped n-gram precisions up to `longest`, or the words of the shorter."""
    if not said or not reference:
        return float(list(said) == list(reference))
    logs = []
    for n in range(1, min(longest, len(said), len(reference)) + 1):
        grams, known = (Counter(zip(*(side[k:] for k in range(n)), strict=False)) for side in (said, reference))
        logs.append(math.log(((grams & known).total() or 0.1) / grams.total()))
    short = min(0.0, 1 - len(reference) / len(said))
    return math.exp(short + sum(logs) / len(logs))
