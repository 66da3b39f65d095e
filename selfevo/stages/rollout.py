"""The rollout stage: the only kind that samples from a policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

from ..context import StageCtx
from ..errors import UserError
from ..prompts import fields
from ..protocols import Environment, Strategy, TaskParser
from ..records import Row, Task
from ..references import Derived
from ..roles import Role
from ..rollouts import Single
from .base import Outcome
from .derived import compared, continued, followed, gathered, once
from .episodes import Job, log_rollout, run_episodes

MAX_DRAWS = 50


class Rollout:
    """Runs a strategy on tasks and records every trajectory.

    role: who acts. seats: {seat: role} in its place, for strategies of several roles.
    tasks: name of a curriculum or task source, or tasks derived from a table ({follow: score, where: {exact: 0}, prompt: retry},
    {continue: score, prompt: feedback}), or those of a sealed suite without their answers ({suite: evaluate, take: 1}).
    n: tasks drawn from a source (a derived table gives all its rows, or the first `n`). group: episodes per task, compared with each other.
    strategy: how an episode unfolds. environment: tools or a game, made anew for each episode.
    parse: reads the new task out of a followed row's text (a proposer's); rows that hold none are counted under "rollout/unparsed".
    prompt: template that replaces the role's; a task that names one has its own. bind: {memory: [versions]}, each task run under every
        combination.
    seed_by: what names an item's random stream: [task] pairs the draws of runs under several versions; default: its place in the stage.
        With [stage, task] the draws are those of (stage, task, sample) whatever iteration it runs in: order then changes nothing.
    every: runs in the last of so many iterations of the innermost repeated block, and in the final one.
    """

    kind = "rollout"

    def __init__(
        self,
        tasks: str | Derived,
        role: str | None = None,
        seats: Mapping[str, str] | None = None,
        n: int | None = None,
        group: int = 1,
        strategy: Strategy | None = None,
        environment: Environment | None = None,
        prompt: str | None = None,
        bind: Mapping[str, Sequence[str]] | None = None,
        seed_by: Sequence[str] = (),
        parse: TaskParser | None = None,
        every: int = 1,
    ):
        if (role is None) == (seats is None):
            raise UserError("a rollout needs either `role` or `seats`")
        for name, value in (("n", n), ("group", group), ("every", every)):
            if value is not None and value < 1:
                raise UserError(f"{name} must be 1 or more, not {value}")
        if set(seed_by) - {"task", "stage"} or set(seed_by) == {"stage"}:
            raise UserError(f"seed_by is {sorted(seed_by)}; expected [task] or [stage, task]")
        if isinstance(tasks, str) and n is None:
            raise UserError(f"a rollout on the source '{tasks}' needs `n`, the number of tasks to draw")
        self.tasks, self.n, self.group, self.prompt, self.every = tasks, n, group, prompt, every
        self.seats = dict(seats) if seats is not None else {"solver": str(role)}
        self.strategy: Strategy = strategy if strategy is not None else Single()
        self.environment, self.bind, self.seed_by, self.parse = environment, dict(bind or {}), tuple(seed_by), parse

    def run(self, ctx: StageCtx) -> Outcome:
        """Rows no one has judged yet."""
        return self.play(ctx, self.draw(ctx))

    def draw(self, ctx: StageCtx) -> list[Task]:
        """The tasks of this execution: the only part that reads tables and moves curricula."""
        if not isinstance(self.tasks, Derived):
            tasks = self._draw(ctx, self.tasks)
        elif self.tasks.mode == "suite":
            tasks = self._sealed(ctx, self.tasks)
        else:
            tasks = self._derive(ctx, self.tasks)
        ctx.log("rollout/tasks", len(tasks))
        return tasks

    def play(self, ctx: StageCtx, tasks: Sequence[Task]) -> Outcome:
        """Every episode of these tasks."""
        jobs = list(self._jobs(ctx, tasks))
        prompt = self.tasks.prompt if isinstance(self.tasks, Derived) and self.tasks.prompt else self.prompt
        root: tuple[object, ...] | None = (ctx.world.seed, ctx.stage) if "stage" in self.seed_by else None
        if isinstance(self.tasks, Derived) and self.tasks.mode == "again" and self.seed_by == ("task",):
            root = (ctx.world.seed, ctx.path, self.tasks.table.stage)
        trajectories = run_episodes(ctx, jobs, self._bound(ctx), self.strategy, self.environment, prompt, root)
        log_rollout(ctx, trajectories)
        rows = [Row.of(t) for t in trajectories]
        touched = (self.tasks,) if isinstance(self.tasks, str) else ()
        return Outcome("rows", rows, tokens=sum(t.cost.generated_tokens for t in trajectories), touched=touched)

    def _bound(self, ctx: StageCtx) -> dict[str, tuple[str, Role]]:
        return {seat: (role, ctx.world.role(role)) for seat, role in self.seats.items()}

    def _jobs(self, ctx: StageCtx, tasks: Sequence[Task]) -> list[Job]:
        variants = self._variants(ctx)
        jobs: list[Job] = []
        for i, task in enumerate(tasks):
            for bind in [{memory: version.format(**task.vars) for memory, version in variant.items()} for variant in variants]:
                for g in range(self.group):
                    label = ",".join(f"{k}@{v}" for k, v in bind.items())
                    item = (task.id, g) if self.seed_by else (i, label, g)
                    keys = {"group": f"{ctx.where}/{i:05d}" + (f"/{label}" if label else ""), "sample": str(g)}
                    if label:
                        keys["bind"] = label
                    jobs.append(Job(task, item, f"{ctx.where}/{i:05d}-{len(jobs):05d}", keys, bind))
        return jobs

    def _variants(self, ctx: StageCtx) -> list[dict[str, str]]:
        """Every combination of the versions of `bind`. "propose*" stands for all that the last execution of that stage made; where it
        made none there is nothing to compare, and no episode is run."""
        versions = {memory: [*given] for memory, given in self.bind.items()}
        for memory, given in versions.items():
            for label in [v for v in given if v.endswith("*")]:
                made = ctx.world.made_by_last(memory, label[:-1])
                if not made:
                    return []
                given[given.index(label) : given.index(label) + 1] = made
        return [dict(zip(versions, combo, strict=True)) for combo in product(*versions.values())]

    def _draw(self, ctx: StageCtx, source: str) -> list[Task]:
        """`n` tasks of a source, none of them held out for evaluation."""
        assert self.n is not None
        tasks: list[Task] = []
        for attempt in range(MAX_DRAWS):
            asked = ctx.world.sample(source, self.n - len(tasks), ctx.named(source if attempt == 0 else f"{source}+{attempt}"))
            short = len(asked) < self.n - len(tasks)  # a curriculum that has no more for now
            tasks += [t for t in asked if t.id not in ctx.world.held_out]
            if len(tasks) >= self.n or short:
                return tasks[: self.n]
        raise UserError(
            f"{ctx.where}: '{source}' gives too few tasks that no evaluation holds out ({len(tasks)} of {self.n} after "
            f"{MAX_DRAWS} draws); draw fewer, hold out fewer, or give a larger source"
        )

    def _derive(self, ctx: StageCtx, derived: Derived) -> list[Task]:
        rows = ctx.world.table(derived.table, ctx.path)
        for memory, version in derived.reading.items():
            read = ctx.world.lineages.aliases[memory].get(version, version)  # an alias that nothing moved yet: no row read it
            rows = [row for row in rows if row.trajectory.memories.get(memory, "").rpartition("@")[2] == read]
        if derived.mode == "gather":
            return gathered(rows, derived, self.n)
        rows = derived.where.select(rows)
        if derived.mode == "again":
            return once(row.trajectory.task for row in rows)[: self.n]
        if derived.mode == "compare":
            return compared(rows, derived.swap)[: self.n]
        if self.parse is not None:
            parsed = [self.parse.parse(row) for row in rows[: self.n]]
            tasks = [self.parse.task(proposal) for proposal in parsed if proposal is not None]
            ctx.log("rollout/unparsed", len(parsed) - len(tasks))
        else:
            tasks = [continued(row) if derived.mode == "continue" else followed(row) for row in rows[: self.n]]
        if not derived.keep_answer:
            tasks = [replace(t, answer=None, id=t.id) for t in tasks]
        if derived.distinct:
            given = len(tasks)
            tasks = once(tasks)
            ctx.log("rollout/repeated", given - len(tasks))
        return tasks

    def _sealed(self, ctx: StageCtx, derived: Derived) -> list[Task]:
        """A slice of a sealed suite: ids, categories, levels and what the prompts show. What is not shown cannot leak."""
        suite = ctx.world.suite(derived.table.stage)
        templates = {derived.prompt or self.prompt or ctx.world.role(role).prompt for role in self.seats.values()}
        shown = {name for template in templates for name in fields(ctx.world.prompt(template))}
        tasks = suite.part(derived.take, ctx.path)[: self.n]
        return [replace(t, vars={k: v for k, v in t.vars.items() if k in shown}, answer=None, id=t.id) for t in tasks]
