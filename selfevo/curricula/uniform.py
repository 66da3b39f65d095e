"""Uniform: every task as likely as any other, always."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError, nearest
from ..protocols import RunCtx, TaskSource
from ..records import Row, Task
from .drawing import distinct, log_outcomes, outcomes, stream


class Uniform:
    """Draws uniformly from a task source, or from one category and level of it; learns and remembers nothing.

    A batch repeats a task only when the source has too few. Procedural sources draw uniformly over their levels first.

    tasks: where tasks come from.
    category: draw only from this category.
    level: draw only from this difficulty.
    reward, correct: a row counts as solved in the metrics when this reward is at least `correct`.
    """

    def __init__(
        self, tasks: TaskSource, category: str | None = None, level: float | None = None, reward: str = "score", correct: float = 0.5
    ):
        self.tasks, self.category, self.level, self.reward, self.correct = tasks, category, level, reward, correct

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks."""
        if self.category is not None and self.category not in self.tasks.categories:
            raise UserError(f"curriculum: no category '{self.category}'{nearest(self.category, self.tasks.categories)}")
        rng = stream(ctx)
        return distinct(n, lambda: self.tasks.draw(rng, self.category, self.level))

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Log levels, shares and success rates; nothing is learned."""
        log_outcomes(ctx, outcomes(rows, self.reward, self.correct))
