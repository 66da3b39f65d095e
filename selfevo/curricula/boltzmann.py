"""Boltzmann: a bandit over categories that is paid by the size of the advantages (SEC)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from ..advantages.common import mean
from ..errors import UserError, nearest
from ..protocols import Advantage, Number, RunCtx, Stateful, TaskSource
from ..records import Row, Sample, Task
from ..samples.common import keys_of
from ..tasks.cells import cells_of
from .drawing import SHOWN, distinct_in, log_outcomes, outcomes, stream

BY = ("category", "level", "cell")

Arm = tuple[str | None, float | None]
"""Category and level; None where the arm does not fix it."""


class Boltzmann:
    r"""Draws categories by softmax(Q / tau) and moves Q towards their mean absolute advantage (Chen et al. 2025, "Self-Evolving
    Curriculum for LLM Reasoning", arXiv:2505.14970).

    An arm c is a category, a level or a (category, level) cell. Each slot of a batch draws an arm, p(c) = exp(Q(c)/tau) / sum exp(Q/tau),
    then a task within it. After the batch is scored, r(c) = mean of |A_i| over all its rows with task in c, and
    Q(c) <- alpha r(c) + (1 - alpha) Q(c); arms without rows keep Q. Q starts at `start`. With 0/1 rewards, success rate q and
    `GroupNorm(std=population, eps=0)`, r = 2 sqrt(q (1 - q)); without std 2 q (1 - q): both are largest at q = 1/2.

    Rows are seen before any filter, so groups of equal rewards count with A = 0. A row whose part failed has no advantage and does not
    count. `tau` may be inf (uniform over arms) or 0 (uniform over the arms with the largest Q). With a single arm the tasks are those
    of `Uniform`. Within a batch a task is repeated only where its arm has too few, as with every curriculum here.

    Args:
        tasks: where tasks come from.
        advantage: the estimator whose values are averaged: normally the optimizer's own, ${optimizer.advantage.outcome}. It is called
            here on one sample per row that holds no tokens, so estimators that need values per token (GAE) do not fit.
        by: what an arm is.
        alpha: step size, 0 to 1. tau: temperature. start: first value of every arm.
        reward: rows without this reward are left out. correct: a row counts as solved in the metrics at this much of it.
    """

    def __init__(
        self,
        tasks: TaskSource,
        advantage: Advantage,
        by: Literal["category", "level", "cell"] = "level",
        alpha: Number = 0.5,
        tau: Number = 1.0,
        start: float = 0.0,
        reward: str = "score",
        correct: float = 0.5,
    ):
        if by not in BY:
            raise UserError(f"Boltzmann: by is '{by}'{nearest(by, BY)}")
        for name, value, most in (("alpha", alpha, 1.0), ("tau", tau, math.inf)):
            if isinstance(value, (int, float)) and not 0 <= value <= most:
                raise UserError(f"Boltzmann: {name} is {value}; expected {'0 to 1' if most == 1 else 'at least 0'}")
        if needs := sorted(getattr(advantage, "needs", ())):
            raise UserError(f"Boltzmann: {type(advantage).__name__} needs {needs}, which only a learner computes; give another advantage")
        self.tasks, self.advantage, self.by, self.alpha, self.tau = tasks, advantage, by, alpha, tau
        self.start, self.reward, self.correct = start, reward, correct
        self._q: dict[Arm, float] = {}

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks, in the order their arms were drawn. Logs "curriculum/p/<arm>"."""
        chances = self.chances(ctx.value(self.tau))
        self._log(ctx, "p", chances)
        arms = ctx.rng("arms", ctx.name).choices(list(chances), list(chances.values()), k=n)
        rng, only = stream(ctx), len(chances) == 1  # a single arm has nothing to tell apart: the draws of `Uniform`
        return distinct_in(arms, lambda arm: self.tasks.draw(rng) if only else self.tasks.draw(rng, *arm))

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Move Q of the arms that have rows. Logs "curriculum/r/<arm>" and "curriculum/q/<arm>"; rows of no arm are counted."""
        log_outcomes(ctx, outcomes(rows, self.reward, self.correct))
        alpha, q = ctx.value(self.alpha), self._values()
        judged = [i for i, row in enumerate(rows) if row.reward(self.reward) is not None]
        samples = [Sample(rows[i].trajectory.id, (), {"train": ()}, keys=keys_of(rows[i]), row=i) for i in judged]
        sizes: dict[Arm, list[float]] = {}
        for i, column in zip(judged, self.advantage(samples, rows, ctx), strict=True):
            if isinstance(column, tuple):
                raise UserError(f"Boltzmann: {type(self.advantage).__name__} gives a value per token; expected one per row")
            sizes.setdefault(self._arm(rows[i].trajectory.task.category, rows[i].trajectory.task.difficulty), []).append(abs(column))
        paid = {arm: mean(values) for arm, values in sizes.items() if arm in q}
        self._q = q | {arm: alpha * r + (1 - alpha) * q[arm] for arm, r in paid.items()}
        self._log(ctx, "r", paid)
        self._log(ctx, "q", self._q)
        if foreign := sum(len(values) for arm, values in sizes.items() if arm not in q):
            ctx.log("curriculum/foreign", foreign)

    def chances(self, tau: float) -> dict[Arm, float]:
        """Probability of each arm at temperature `tau`, in the source's order."""
        q = self._values()
        best = max(q.values())
        weights = {arm: float(v == best) if tau == 0 else math.exp((v - best) / tau) for arm, v in q.items()}
        total = math.fsum(weights.values())
        return {arm: w / total for arm, w in weights.items()}

    def state_dict(self) -> dict[str, Any]:
        """Q of every arm, and the state of the advantage where it has one."""
        inner = self.advantage.state_dict() if isinstance(self.advantage, Stateful) else {}
        return {"by": self.by, "q": [[*arm, v] for arm, v in self._values().items()], "advantage": inner}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError for a state of other arms."""
        if set(state) != {"by", "q", "advantage"} or state["by"] != self.by:
            raise ValueError(f"not a state of Boltzmann by {self.by}: {sorted(state)}")
        q = {(category, level): float(v) for category, level, v in state["q"]}
        if set(q) != set(self._values()):
            raise ValueError(f"the state of Boltzmann has the arms {sorted(map(str, q))}, the source {sorted(map(str, self._values()))}")
        self._q = q
        if isinstance(self.advantage, Stateful):
            self.advantage.load_state_dict(state["advantage"])

    def _arm(self, category: str | None, level: float | None) -> Arm:
        """The arm that a category and level belong to."""
        return (None if self.by == "level" else category, None if self.by == "category" else level)

    def _values(self) -> dict[Arm, float]:
        if not self._q:
            self._q = {self._arm(*cell): self.start for cell in cells_of(self.tasks)}
        return self._q

    def _log(self, ctx: RunCtx, what: str, values: Mapping[Arm, float]) -> None:
        for (category, level), value in values.items() if len(self._values()) <= SHOWN else ():
            parts = ([] if category is None else [f"category={category}"]) + ([] if level is None else [f"level={level:g}"])
            ctx.log(f"curriculum/{what}/{','.join(parts)}", value)
