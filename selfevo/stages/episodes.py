"""Episodes: seats bound to roles, seeds per item, and a strategy run for each; shared by rollout and evaluate."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .. import seeds
from ..context import StageCtx
from ..errors import EpisodesError, SelfevoError
from ..prompts import render
from ..protocols import Completion, Environment, GenerateRequest, Sampling, ScoreRequest, Seat, Strategy
from ..records import Task, Trajectory
from ..roles import Role, split_ref
from ..rollouts.dialogue import Talk

if TYPE_CHECKING:  # it brings asyncio, which nothing needs before the first episode
    from .batcher import Batcher, Target

WHOLE = 8
"""Episodes that must all have failed before a stage ends: of fewer, a chance may have struck all."""


@dataclass(frozen=True)
class Job:
    """One episode to run. `item` names its random stream within the stage; `keys` go to every trajectory it yields."""

    task: Task
    item: tuple[object, ...]
    name: str
    keys: Mapping[str, str] = field(default_factory=dict)
    bind: Mapping[str, str] = field(default_factory=dict)


class EpisodeDoor:
    """`protocols.EpisodeCtx` of one episode: the stage's context, plus its own seeds and the engines behind the batcher."""

    def __init__(self, ctx: StageCtx, job: Job, number: int, batcher: Batcher, seed_root: tuple[object, ...]):
        self._ctx, self._job, self._number, self._batcher, self._root = ctx.bound(job.bind), job, number, batcher, seed_root
        self.episode = job.name
        self._made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def seed(self, *key: object) -> int:
        """Seed of this episode's item and key."""
        return seeds.derive(*self._root, *self._job.item, *key)

    def rng(self, *key: object) -> Any:
        """Generator of this episode's item and key."""
        return seeds.rng(*self._root, *self._job.item, *key)

    def new_id(self) -> str:
        """Id of the episode's next trajectory, unique in the run."""
        self._made += 1
        return f"{self.episode}.{self._made - 1}"

    async def generate(self, target: Target, context: Sequence[int], sampling: Sampling, key: tuple[object, ...]) -> Completion:
        """One completion; its seed is that of (item, key)."""
        request = GenerateRequest(tuple(context), self.seed("draw", *key), sampling)
        return await self._batcher.generate(self._number, target, request)

    async def logprobs(self, seat: Seat, context: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Log-probs of given tokens under a seat's policy, at temperature 1."""
        assert isinstance(seat, BoundSeat)
        scores = await self._batcher.score(self._number, seat.target, ScoreRequest(tuple(context), tuple(tokens)))
        return [float(x) for x in scores.logprobs]


class BoundSeat:
    """`protocols.Seat`: a role bound to a policy version, its prompt and its memories for one episode."""

    def __init__(
        self, name: str, role_name: str, role: Role, door: EpisodeDoor, ctx: StageCtx, prompt: str | None, bind: Mapping[str, str]
    ):
        self.name, self._role_name, self._role, self._door, self._ctx, self._prompt, self._bind = (
            name,
            role_name,
            role,
            door,
            ctx,
            prompt,
            bind,
        )
        policy, alias = split_ref(role.policy)
        self.policy = ctx.world.version_ref(policy, alias, ctx.path)
        self.target: Target = (role.engine or "", self.policy)

    def open(self, task: Task, prompt: str | None = None, **variables: str) -> Talk:
        """Start (or, for a task with turns, go on with) a conversation."""
        world, role = self._ctx.world, self._role
        memories, texts, chosen = world.memories_for(role, self._bind, task)
        template = prompt or task.prompt or self._prompt or role.prompt
        where = f"prompts.{template} (role {self._role_name})"
        known = {"category": task.category, "level": "" if task.difficulty is None else f"{task.difficulty:g}"}
        codec = world.codec(self.policy)
        context: tuple[int, ...] = ()
        messages = render(world.prompt(template), {**known, **texts, **task.vars, **variables}, where)
        resumed = bool(task.turns)
        if resumed:
            first = next((t.context for t in task.turns if t.context), ())
            context = tuple(first)
        else:
            context = codec.open(messages)
        target = self.target

        async def generate(context: Sequence[int], sampling: Sampling, key: tuple[object, ...]) -> Completion:
            return await self._door.generate(target, context, sampling, (self.name, *key))

        talk = Talk(
            codec=codec,
            task=task,
            context=context,
            role=self._role_name,
            policy=self.policy,
            sampling=role.sampling(self._ctx.named(self._role_name)),
            memories=memories,
            generate=generate,
            new_id=self._door.new_id,
            episode=self._door.episode,
            keys={**self._door._job.keys, **chosen},
        )
        if resumed and task.lineage.origin == "continue":
            for message in messages:
                talk.hear(message.content, source="env", role=message.role)
        return talk


def run_episodes(
    ctx: StageCtx,
    jobs: Sequence[Job],
    seats: Mapping[str, tuple[str, Role]],
    strategy: Strategy,
    environment: Environment | None,
    prompt: str | None = None,
    seed_root: tuple[object, ...] | None = None,
) -> list[Trajectory]:
    """Every trajectory of every job, in job order.

    seats: {seat: (role's name, role)}. Each episode gets its own copy of the environment.
    An episode that raises becomes one trajectory with status "error" and the message; selfevo's own
    errors (a spec mistake, an engine that cannot serve) end the stage. So does a cause that no episode survives: raises EpisodesError
    when all of `WHOLE` episodes or more raised, since a run that goes on would learn from nothing and end as if all were well.
    """
    from .batcher import Batcher

    root = (ctx.world.seed, ctx.path, ctx.stage) if seed_root is None else seed_root
    batcher = Batcher(ctx.world.serve)

    def episode(number: int, job: Job) -> Callable[[], Any]:
        async def run() -> list[Trajectory]:
            door = EpisodeDoor(ctx, job, number, batcher, root)
            bound = {seat: BoundSeat(seat, role_name, role, door, ctx, prompt, job.bind) for seat, (role_name, role) in seats.items()}
            try:
                env = copy.deepcopy(environment)
                return list(await strategy.run(job.task, bound, env, door))  # type: ignore[arg-type]
            except SelfevoError:
                raise
            except Exception as error:  # recorded in the trajectory, counted in the stage's metrics, never a zero
                last = traceback.extract_tb(error.__traceback__)[-1]
                seat = next(iter(bound.values()))
                message = f"{type(error).__name__}: {error} ({last.filename.rsplit('/', 1)[-1]}:{last.lineno})"
                return [
                    Trajectory(
                        door.new_id(),
                        job.task,
                        seat._role_name,
                        seat.policy,
                        (),
                        job.name,
                        dict(job.keys),
                        status="error",
                        error=" ".join(message.split()),
                    )
                ]

        return run

    with ctx.timed("generate"):
        results = batcher.run([episode(i, job) for i, job in enumerate(jobs)], lambda n: ctx.progress(n, len(jobs), "episodes"))
    for name, value in ctx.world.spent().items():
        ctx.log(name, value)
    raised = [t for result in results for t in result if t.status == "error" and not t.turns]
    if len(jobs) >= WHOLE and len(raised) == sum(map(len, results)):
        raise EpisodesError(f"{ctx.where}: each of {len(jobs)} episodes failed; the first: {raised[0].error}")
    return [t for result in results for t in result]


def log_rollout(ctx: StageCtx, trajectories: Sequence[Trajectory], prefix: str = "rollout") -> None:
    """Counts and means of what was sampled, cost included."""
    n = len(trajectories)
    ctx.log(f"{prefix}/trajectories", n)
    if not n:
        return
    ctx.log(f"{prefix}/length", sum(t.length for t in trajectories) / n)
    for status in ("truncated", "failed", "pruned", "error"):
        ctx.log(f"{prefix}/{status}", sum(t.status == status for t in trajectories) / n)
    for name in ("prompt_tokens", "generated_tokens", "discarded_tokens"):
        ctx.log(f"{prefix}/{name}", sum(getattr(t.cost, name) for t in trajectories))
    logprobs = [p for t in trajectories for turn in t.turns if turn.logprobs is not None for p in turn.logprobs]
    if logprobs:
        ctx.log(f"{prefix}/entropy", -sum(logprobs) / len(logprobs))
