"""Fixed: the same tasks at every call."""

from __future__ import annotations

from collections.abc import Sequence

from ..protocols import RunCtx, TaskSource
from ..records import Row, Task
from ..seeds import rng
from .drawing import distinct, log_outcomes, outcomes


class Fixed:
    """A fixed probe set: every call of one size gives the same distinct tasks, in the same order, in every run.

    For probes that tune something and are compared over iterations. What is held out for evaluation is replaced, by the same tasks every
    time. Other curricula over the same source may draw these tasks too: where that matters, give both a part of the data
    (`split: "train[:1000]"` and `split: "train[1000:]"`).

    tasks: where they come from. seed: chooses another set.
    reward, correct: a row counts as solved in the metrics when this reward is at least `correct`.
    """

    def __init__(self, tasks: TaskSource, seed: int = 0, reward: str = "score", correct: float = 0.5):
        self.tasks, self.seed, self.reward, self.correct = tasks, seed, reward, correct

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks. A stage that asks for replacements does so under another `ctx.name`, which has tasks of its own."""
        random = rng("fixed", self.seed, ctx.name)
        return distinct(n, lambda: self.tasks.draw(random), tries=1000)

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Log levels, shares and success rates; nothing is learned."""
        log_outcomes(ctx, outcomes(rows, self.reward, self.correct))
