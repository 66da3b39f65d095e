"""The evaluate stage: a rollout and a score on a sealed suite, the same tasks and draws in every run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ..context import StageCtx
from ..errors import UserError
from ..protocols import Strategy
from ..records import Row
from ..rollouts import Single
from ..verifiers.run import verify
from .base import Outcome
from .episodes import Job, log_rollout, run_episodes

if TYPE_CHECKING:
    from ..evals import Suite


class Evaluate:
    """Samples a suite's held-out tasks and logs its metrics under "eval/<suite>/".

    role: who answers. suite: tasks, verifier and sample counts. strategy: how an answer is made. prompt: replaces the role's template.
    best: a metric (such as "eval/chain_sum/pass@1"); when its value is the highest so far the alias `best` moves to the current version.
    Draws are seeded by the suite, task and sample alone, so two evaluations differ only by what is evaluated.
    """

    kind = "evaluate"

    def __init__(
        self, role: str, suite: Suite, strategy: Strategy | None = None, prompt: str | None = None, best: str | None = None, every: int = 1
    ):
        if every < 1:
            raise UserError(f"every must be 1 or more, not {every}")
        self.role, self.suite, self.prompt, self.best, self.every = role, suite, prompt, best, every
        self.strategy: Strategy = strategy if strategy is not None else Single()

    def run(self, ctx: StageCtx) -> Outcome:
        """Judged rows; trains nothing."""
        suite = self.suite
        jobs: list[Job] = []
        for i, task in enumerate(suite.tasks()):
            for s in range(suite.samples):
                keys = {"group": f"{ctx.where}/{i:05d}", "sample": str(s)}
                jobs.append(Job(task, (task.id, s), f"{ctx.where}/{i:05d}-{len(jobs):05d}", keys))
        given = ctx.world.role(self.role)
        limit = given.max_tokens if suite.max_tokens is None else suite.max_tokens
        role = replace(given, max_tokens=limit, temperature=suite.temperature, top_p=suite.top_p, top_k=suite.top_k)
        root = ("suite", suite.name, suite.seed)
        trajectories = run_episodes(ctx, jobs, {"solver": (self.role, role)}, self.strategy, None, self.prompt, root)
        prefix = f"eval/{suite.name}"
        before = dict(ctx.metrics)
        log_rollout(ctx, trajectories, "rollout")
        tokens = ctx.metrics.get("rollout/generated_tokens", 0.0)
        ctx.metrics.clear()
        ctx.metrics.update(before, **{f"{prefix}/generated_tokens": tokens})
        with ctx.timed("score"):
            rows = verify(suite.verifier, [Row.of(t) for t in trajectories], ctx.named, ctx.world.place.judging(ctx.stage))
            for name, value in suite.metrics(rows).items():
                ctx.log(name, value)
        promotions = {}
        if self.best is not None:
            if self.best not in ctx.metrics:
                raise UserError(f"{ctx.where}: `best` names the metric '{self.best}', which this evaluation does not log")
            if ctx.metrics[self.best] > max(ctx.history(self.best), default=float("-inf")):
                policy = ctx.world.role(self.role).policy.partition("@")[0]
                promotions = {policy: {"best": ctx.world.lineages.resolve(policy).id}}
        return Outcome("rows", rows, judged=True, promotions=promotions, tokens=int(tokens))
