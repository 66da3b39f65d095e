"""The evaluate stage: a rollout and a score on a sealed suite, the same tasks and draws in every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..context import StageCtx
from ..errors import UserError
from ..evals.drift import drift
from ..protocols import Environment, Strategy, each_item
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

    role: who answers. seats: {seat: role} in its place, for strategies of several roles. suite: tasks, verifier and sample counts.
    strategy: how an answer is made. environment: tools or a game, made anew for each episode. prompt: replaces the role's template.
    best: a metric (such as "eval/chain_sum/pass@1"); when its value is the highest so far the alias `best` moves to the current version,
        of the policies that answered and of the memories they read.
    since: a table of the same suite ("evaluate@first": this run's first evaluation); how the rate moved since then is logged as
        "eval/<suite>/drift", see `evals.drift`. Where the table holds nothing yet, this evaluation is the first and its drift is 0.
    take: answer only the slice of so many tasks that belongs to this iteration of the innermost repeated block (what adapts to an input
        before it answers); the numbers of the suite are then logged by an evaluation `of` all slices.
    of: tables that hold the suite's answers already, every task and sample once; nothing is sampled, and `role` is left out.
    every: runs in the last of so many iterations of the innermost repeated block, and in the final one.

    Draws are seeded by the suite, task and sample alone, so two evaluations differ only by what is evaluated.
    """

    kind = "evaluate"

    def __init__(
        self,
        suite: Suite,
        role: str | None = None,
        seats: Mapping[str, str] | None = None,
        strategy: Strategy | None = None,
        environment: Environment | None = None,
        prompt: str | None = None,
        best: str | None = None,
        since: str | None = None,
        take: int | None = None,
        of: str | Sequence[str] = (),
        every: int = 1,
    ):
        self.of = [str(TableRef.parse(ref, "of") and ref) for ref in each_item(of)]
        if sum((role is not None, seats is not None, bool(self.of))) != 1:
            raise UserError("an evaluation needs either `role` or `seats`, or `of`, the tables that hold its answers")
        for what, value in (("every", every), ("take", take)):
            if value is not None and value < 1:
                raise UserError(f"{what} must be 1 or more, not {value}")
        if (self.of and (take is not None or best is not None)) or (take is not None and (best is not None or since is not None)):
            raise UserError("`of`, `take` and `best` do not go together, nor `take` and `since`")
        self.take = take
        self.seats = {} if self.of else dict(seats) if seats is not None else {"solver": str(role)}
        self.suite, self.environment, self.prompt, self.best, self.every = suite, environment, prompt, best, every
        self.since = None if since is None else TableRef.parse(since, "since")
        self.strategy: Strategy = strategy if strategy is not None else Single()

    def run(self, ctx: StageCtx) -> Outcome:
        """Judged rows; trains nothing."""
        rows, tokens = self._recorded(ctx) if self.of else self._answered(ctx)
        prefix = f"eval/{self.suite.name}"
        with ctx.timed("score"):
            rows = verify(self.suite.verifier, rows, ctx.named, ctx.world.place.judging(ctx.stage))
            if self.take is not None:
                return Outcome("rows", rows, judged=True, tokens=tokens)
            for name, value in self.suite.metrics(rows).items():
                ctx.log(name, value)
            if self.since is not None:
                before = ctx.world.table(self.since, ctx.path) or rows
                for name, value in drift(before, rows, self.suite.solved).items():
                    ctx.log(f"{prefix}/{name}", value)
        if self.of:
            return Outcome("scores", rows, judged=True)
        promotions = {}
        if self.best is not None:
            if self.best not in ctx.metrics:
                raise UserError(f"{ctx.where}: `best` names the metric '{self.best}', which this evaluation does not log")
            if ctx.metrics[self.best] > max(ctx.history(self.best), default=float("-inf")):
                roles = [ctx.world.role(name) for name in self.seats.values()]
                read = {ref.partition("@")[0] for role in roles for ref in (role.policy, *role.memories)}
                promotions = {name: {"best": ctx.world.lineages.resolve(name).id} for name in sorted(read)}
        return Outcome("rows", rows, judged=True, promotions=promotions, tokens=tokens)

    def _answered(self, ctx: StageCtx) -> tuple[list[Row], int]:
        """Rows of the suite, or of its slice, as the roles answer now; and the tokens they took."""
        suite = self.suite
        jobs: list[Job] = []
        for i, task in enumerate(suite.part(self.take, ctx.path)):
            for s in range(suite.samples):
                keys = {"group": f"{ctx.where}/{i:05d}", "sample": str(s)}
                jobs.append(Job(task, (task.id, s), f"{ctx.where}/{i:05d}-{len(jobs):05d}", keys))
        seats = {seat: (name, self._sampled(ctx.world.role(name))) for seat, name in self.seats.items()}
        trajectories = run_episodes(ctx, jobs, seats, self.strategy, self.environment, self.prompt, ("suite", suite.name, suite.seed))
        metrics = dict(ctx.metrics)
        log_rollout(ctx, trajectories, "rollout")
        tokens, discarded = (ctx.metrics.get(f"rollout/{name}", 0.0) for name in ("generated_tokens", "discarded_tokens"))
        if self.take is None:
            ctx.metrics.clear()
            ctx.metrics.update(metrics, **{f"eval/{suite.name}/generated_tokens": tokens})
            if discarded:
                ctx.log(f"eval/{suite.name}/discarded_tokens", discarded)
        return [Row.of(t) for t in trajectories], int(tokens)

    def _recorded(self, ctx: StageCtx) -> tuple[list[Row], int]:
        """The suite's rows out of the tables `of`, each with its task as the suite knows it. Raises UserError unless all are there once."""
        tasks = {task.id: task for task in self.suite.tasks()}
        found = [row for ref in self.of for row in ctx.world.rows(ref, ctx.path) if row.trajectory.status != "pruned"]
        got = Counter(row.trajectory.task.id for row in found if row.trajectory.final)
        wrong = [i for i in {**tasks, **got} if got[i] != (self.suite.samples if i in tasks else 0)]
        if wrong:
            where = ", ".join(self.of)
            raise UserError(
                f"{ctx.where}: {where} must hold each of the {len(tasks)} tasks of suite '{self.suite.name}' {self.suite.samples} times "
                f"and no other task; {len(wrong)} are not so (first: {wrong[0]}, {got[wrong[0]]} times)"
            )
        tokens = sum(row.trajectory.cost.generated_tokens for row in found)
        ctx.log(f"eval/{self.suite.name}/generated_tokens", tokens)
        return [Row.of(replace(row.trajectory, task=tasks[row.trajectory.task.id])) for row in found], tokens

    def _sampled(self, role: Role) -> Role:
        """A role as the suite samples it."""
        suite = self.suite
        limit = role.max_tokens if suite.max_tokens is None else suite.max_tokens
        return replace(role, max_tokens=limit, temperature=suite.temperature, top_p=suite.top_p, top_k=suite.top_k)
