"""The evaluate stage: a rollout and a score on a sealed suite, the same tasks and draws in every run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ..context import StageCtx
from ..errors import UserError
from ..evals.drift import drift
from ..protocols import Strategy
from ..records import Row
from ..references import TableRef
from ..roles import Role
from ..rollouts import Single
from ..verifiers.run import verify
from .base import Outcome
from .episodes import Job, log_rollout, run_episodes

if TYPE_CHECKING:
    from ..evals import Suite


class Evaluate:
    """Samples a suite's held-out tasks and logs its metrics under "eval/<suite>/".

    role: who answers (or `seats`, {seat: role}, for strategies of several roles). suite: tasks, verifier and sample counts.
    strategy: how an answer is made. prompt: replaces the role's template.
    best: a metric (such as "eval/chain_sum/pass@1"); when its value is the highest so far the alias `best` moves to the current version.
    since: a table of the same suite ("evaluate@first": this run's first evaluation); how the rate moved since then is logged as
        "eval/<suite>/drift", see `evals.drift`. Where the table holds nothing yet, this evaluation is the first and its drift is 0.
    Draws are seeded by the suite, task and sample alone, so two evaluations differ only by what is evaluated.
    """

    kind = "evaluate"

    def __init__(
        self,
        suite: Suite,
        role: str | None = None,
        seats: Mapping[str, str] | None = None,
        strategy: Strategy | None = None,
        prompt: str | None = None,
        best: str | None = None,
        since: str | None = None,
        every: int = 1,
    ):
        if (role is None) == (seats is None):
            raise UserError("an evaluation needs either `role` or `seats`")
        if every < 1:
            raise UserError(f"every must be 1 or more, not {every}")
        self.seats = dict(seats) if seats is not None else {"solver": str(role)}
        self.suite, self.prompt, self.best, self.every = suite, prompt, best, every
        self.since = None if since is None else TableRef.parse(since, "since")
        self.strategy: Strategy = strategy if strategy is not None else Single()

    def run(self, ctx: StageCtx) -> Outcome:
        """Judged rows; trains nothing."""
        suite = self.suite
        jobs: list[Job] = []
        for i, task in enumerate(suite.tasks()):
            for s in range(suite.samples):
                keys = {"group": f"{ctx.where}/{i:05d}", "sample": str(s)}
                jobs.append(Job(task, (task.id, s), f"{ctx.where}/{i:05d}-{len(jobs):05d}", keys))
        seats = {seat: (name, self._sampled(ctx.world.role(name))) for seat, name in self.seats.items()}
        root = ("suite", suite.name, suite.seed)
        trajectories = run_episodes(ctx, jobs, seats, self.strategy, None, self.prompt, root)
        prefix = f"eval/{suite.name}"
        metrics = dict(ctx.metrics)
        log_rollout(ctx, trajectories, "rollout")
        tokens = ctx.metrics.get("rollout/generated_tokens", 0.0)
        ctx.metrics.clear()
        ctx.metrics.update(metrics, **{f"{prefix}/generated_tokens": tokens})
        with ctx.timed("score"):
            rows = verify(suite.verifier, [Row.of(t) for t in trajectories], ctx.named, ctx.world.place.judging(ctx.stage))
            for name, value in suite.metrics(rows).items():
                ctx.log(name, value)
            if self.since is not None:
                before = ctx.world.table(self.since, ctx.path) or rows
                for name, value in drift(before, rows, suite.solved).items():
                    ctx.log(f"{prefix}/{name}", value)
        promotions = {}
        if self.best is not None:
            if self.best not in ctx.metrics:
                raise UserError(f"{ctx.where}: `best` names the metric '{self.best}', which this evaluation does not log")
            if ctx.metrics[self.best] > max(ctx.history(self.best), default=float("-inf")):
                policies = {ctx.world.role(name).policy.partition("@")[0] for name in self.seats.values()}
                promotions = {policy: {"best": ctx.world.lineages.resolve(policy).id} for policy in sorted(policies)}
        return Outcome("rows", rows, judged=True, promotions=promotions, tokens=int(tokens))

    def _sampled(self, role: Role) -> Role:
        """A role as the suite samples it."""
        suite = self.suite
        limit = role.max_tokens if suite.max_tokens is None else suite.max_tokens
        return replace(role, max_tokens=limit, temperature=suite.temperature, top_p=suite.top_p, top_k=suite.top_k)
