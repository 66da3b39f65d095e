"""Which replies of a call go to which process: on small products two threads of one wait for each other half the time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ..protocols import GenerateRequest

ROWS = 32
"""Fewest replies of a part: fewer do not repay the process, and the weights that it reads anew."""


def possible() -> bool:
    """Whether this system forks processes that may go on computing."""
    return sys.platform == "linux"


def deal(requests: Sequence[GenerateRequest], parts: int) -> list[list[int]]:
    """Which requests go to which part, as indices in their order. Equal contexts stay together unless they are more than a part's share.

    A function of the requests and the number of parts alone. Requests come with equal contexts side by side.
    """
    share = -(-len(requests) // parts)
    groups: list[list[int]] = []
    for i, request in enumerate(requests):
        if not groups or len(groups[-1]) == share or requests[groups[-1][0]].context != request.context:
            groups.append([])
        groups[-1].append(i)
    dealt: list[list[int]] = [[] for _ in range(parts)]
    for group in sorted(groups, key=len, reverse=True):
        min(dealt, key=len).extend(group)
    return [sorted(part) for part in dealt if part]
