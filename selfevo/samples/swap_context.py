"""Responses read after another prompt than the one they were sampled under."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence

from ..errors import UserError, nearest
from ..protocols import Builder, RunCtx
from ..records import Row, Sample
from .policy_turns import PolicyTurns

FIELDS = ("answer", "feedback", "text")


class SwapContext:
    """The samples of another builder, with one named context re-opened from a role's prompt and the row's task.

    `context: train` trains on the response as if it had been drawn from the plain prompt (context distillation: Askell et al. 2021,
    arXiv:2112.00861, section 2.2.1); the sampler's log-probs are then dropped. Another name leaves training as it is and adds what a
    teacher reads ("teacher": the same role with a hint). `variables` are texts in which {answer} (the task's reference), {feedback} (the
    score's) and {text} (the row's last reply) are filled in. A sample whose row lacks one of them is dropped and counted in
    "train/no_context".

    Args:
        role: role whose prompt is opened.
        of: builder of the samples; `PolicyTurns()` when left out.
        context: name of the context that is set.
        prompt: named prompt to use instead of the role's own.
        variables: prompt variables besides the task's.
    """

    def __init__(
        self,
        role: str,
        of: Builder | None = None,
        context: str = "train",
        prompt: str | None = None,
        variables: Mapping[str, str] | None = None,
    ):
        self.of: Builder = PolicyTurns() if of is None else of
        self.role, self.context, self.prompt, self.variables = role, context, prompt, dict(variables or {})
        self._used = {n for text in self.variables.values() for _, n, _, _ in string.Formatter().parse(text) if n is not None}
        for name in sorted(self._used):
            if name not in FIELDS:
                raise UserError(f"samples.SwapContext: variables: unknown field '{name}'{nearest(name, FIELDS)}")

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the inner builder's order."""
        built = self.of.build(rows, ctx)
        swapped = []
        for sample in built:
            row = rows[sample.row]
            values = {"answer": row.trajectory.task.answer, "feedback": row.score.feedback, "text": row.trajectory.text}
            known = {name: value for name, value in values.items() if name in self._used and value is not None}
            if len(known) == len(self._used):
                variables = {name: text.format(**known) for name, text in self.variables.items()}
                ids = ctx.open(self.role, row.trajectory.task, self.prompt, **variables)
                swapped.append(sample.with_context(self.context, ids))
        ctx.log("train/no_context", len(built) - len(swapped))
        return swapped
