"""Exploration and exploitation over iterations: are there still new right answers, and can the reward pick them?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

from ..errors import UserError
from ..records import Row, groups
from ..verifiers.answers import compiled


class Exploration:
    """The monitors of B-STaR (Zeng et al. 2024, arXiv:2412.17256, section 2), over the K samples of each task.

    `pass@K-S=s`: share of the tasks with at least s distinct right responses. `reward@K-S=s`: mean share of right ones among the s samples
    with the highest reward. `best_of`: share of the tasks whose best-rewarded sample is right (equal rewards: their mean).
    `diversity`: distinct equations over all equations in a task's samples, mean over the tasks with any.

    Args:
        at: the values of s. reward: reward by which samples are ranked.
        equation: regex of an equation in a response.
    """

    def __init__(self, at: Sequence[int] = (1, 4), reward: str = "score", equation: str = r"\S*\d\S*\s*=\s*\S*\d\S*"):
        if not at or min(at) < 1:
            raise UserError(f"evals.Exploration: at must hold numbers of at least 1, got {list(at)}")
        self.at, self.reward, self.equation = tuple(at), reward, compiled(equation)

    def __call__(self, rows: Sequence[Row], solved: Callable[[Row], bool]) -> Mapping[str, float]:
        """Numbers over all tasks; the order of rows changes none."""
        tasks = [mine for _, mine in sorted(groups([r for r in rows if r.trajectory.final], ["task"]).items())]
        out = {f"pass@K-S={s}": _mean([len({r.trajectory.text for r in t if solved(r)}) >= s for t in tasks]) for s in self.at}
        out |= {f"reward@K-S={s}": _mean([self._top(t, s, solved) for t in tasks]) for s in self.at}
        out["best_of"] = _mean([self._top(t, 1, solved) for t in tasks])
        found = [[e for r in t for e in map(_flat, self.equation.findall(r.trajectory.text))] for t in tasks]
        return {**out, "diversity": _mean([len(set(e)) / len(e) for e in found if e])}

    def _top(self, rows: Sequence[Row], s: int, solved: Callable[[Row], bool]) -> float:
        """Share of right ones among the best s; where equal rewards straddle the cut, their mean fills the places left."""
        levels: dict[float, list[bool]] = {}
        for row in rows:
            reward = row.reward(self.reward)
            levels.setdefault(-math.inf if reward is None else reward, []).append(solved(row))
        right, places = 0.0, min(s, len(rows))
        taken = places
        for _, mine in sorted(levels.items(), reverse=True):
            some = min(places, len(mine))
            right, places = right + some * sum(mine) / len(mine), places - some
        return right / taken


def _flat(match: str | tuple[str, ...]) -> str:
    return re.sub(r"\s+", "", match if isinstance(match, str) else "".join(match))


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
