"""Chains of solutions, hop by hop: accuracy, how states change, and a vote over the last hops."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

from ..errors import UserError
from ..records import Row
from .episodes import attempts, by_task
from .estimators import plurality


class Hops:
    """What chains of solutions came to (Liu et al. 2025, "Deep Self-Evolving Reasoning", arXiv:2510.17498).

    `pass@1/hop=n`: mean over tasks of the share of chains that are right at hop n (an answer that cannot be read is wrong; a chain that
    ended early stays where it ended). `p_ic`, `p_ci`: chances per hop to go from wrong to right and back, pooled over all chains and
    hops; `stationary` = p_ic / (p_ic + p_ci), the share right in the long run if each hop were a draw from the same two-state chain;
    `mixing` = |1 - p_ic - p_ci|. `improving`: share of the tasks whose own p_ic exceeds their p_ci, among those where both are known.
    `vote`: accuracy of the most frequent answer of the last `window` hops of all chains of a task, ties broken uniformly (exact
    expectation); `vote/first`: of the first hops alone, which is self-consistency. Undefined numbers are nan.

    Args:
        window: how many of the last solutions of each chain vote; None: all of them.
    """

    def __init__(self, window: int | None = 1):
        if window is not None and window < 1:
            raise UserError(f"evals.Hops: window must be at least 1, got {window}")
        self.window = window

    def __call__(self, rows: Sequence[Row], solved: Callable[[Row], bool]) -> Mapping[str, float]:
        """Numbers of all chains; they do not depend on the order of rows."""
        tasks = by_task(attempts(rows, solved))
        chains = [[e.right for e in episodes] for episodes in tasks]
        p_ic, p_ci = transitions(c for some in chains for c in some)
        own = [transitions(some) for some in chains]
        known = [ic > ci for ic, ci in own if not math.isnan(ic + ci)]
        out = {"p_ic": p_ic, "p_ci": p_ci, "mixing": abs(1 - p_ic - p_ci)}
        out["stationary"] = p_ic / (p_ic + p_ci) if p_ic + p_ci else math.nan
        out["improving"] = sum(known) / len(known) if known else math.nan
        for hop in range(max((len(c) for some in chains for c in some), default=0)):
            rates = [sum(c[min(hop, len(c) - 1)] for c in some) / len(some) for some in chains]
            out[f"pass@1/hop={hop}"] = math.fsum(rates) / len(rates)
        first, late = slice(0, 1), slice(None) if self.window is None else slice(-self.window, None)
        for name, part in (("vote/first", first), ("vote", late)):
            votes = [[(a, r) for e in some for a, r in zip(e.answers[part], e.right[part], strict=True)] for some in tasks]
            won = [plurality([a for a, _ in v], [r for _, r in v]) for v in votes]
            out[name] = math.fsum(won) / len(won) if won else math.nan
        return out


def transitions(chains: Iterable[Sequence[bool]]) -> tuple[float, float]:
    """(p_ic, p_ci): share of the wrong states that became right at the next hop, and of the right ones that became wrong; nan where
    such a state was never left for another hop."""
    steps = [(a, b) for chain in chains for a, b in pairwise(chain)]
    wrong, right = [b for a, b in steps if not a], [not b for a, b in steps if a]
    return sum(wrong) / len(wrong) if wrong else math.nan, sum(right) / len(right) if right else math.nan


def accuracy_at(hop: int, start: float, p_ic: float, p_ci: float) -> float:
    """P(right) after `hop` hops of the two-state chain that begins right with chance `start`:
    pi + (start - pi) (1 - p_ic - p_ci)^hop with pi = p_ic / (p_ic + p_ci); `start` where neither state is ever left."""
    if p_ic + p_ci == 0:
        return start
    limit = p_ic / (p_ic + p_ci)
    return limit + (start - limit) * (1 - p_ic - p_ci) ** hop
