"""What the parts of selfevo ask of each other. Structural types only: nothing here imports torch, an engine or the store.

Components (tasks, curricula, strategies, verifier parts, builders, advantages, terms, optimizers) know these protocols and the
records, never a stage, an engine, the store or the command line.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from .records import Column, Message, Row, Sample, Task, Trajectory, Turn, Version

if TYPE_CHECKING:  # shapes are documented below; the names are only for readers and type checkers
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Varying:
    """A number that changes over a run: a schedule or a metric. `RunCtx.value` reads it; its values are logged as metrics.

    `kind` is "linear" or "cosine" (points over `over` iterations), "metric" (latest committed value, `default` before the
    first) or "each" (the item of an `each` block).
    """

    kind: Literal["linear", "cosine", "metric", "each"]
    points: tuple[float, ...] = ()
    over: int | None = None
    metric: str = ""
    default: float | None = None
    name: str = ""


Number = float | Varying
"""Annotate a constructor's parameter so, and the spec may give a constant, {linear: [a, b]}, {cosine: [a, b]} or {metric: name}."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy; `top_p` 1 and `top_k` 0 are off; `stop` strings end a reply and are kept in it."""

    max_tokens: int = 256
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GenerateRequest:
    """Continue `context` (token ids; a prefix to resume from is simply its tail). Equal contexts in one call share their prefill.

    `seed` alone decides the draw: the same request gives the same tokens whatever else is in the batch, up to float rounding.
    """

    context: tuple[int, ...]
    seed: int
    sampling: Sampling = Sampling()


@dataclass(frozen=True, slots=True)
class Completion:
    """`tokens` [T] as sampled, the end-of-turn token included when one was drawn; `logprobs` [T] at the sampling temperature, before
    top-p / top-k (None when the engine cannot tell). `finish`: "stop" (end token or stop string) or "length"."""

    tokens: tuple[int, ...]
    logprobs: tuple[float, ...] | None
    text: str
    finish: Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class ScoreRequest:
    """Log-probs of `tokens` [T] when read after `context`."""

    context: tuple[int, ...]
    tokens: tuple[int, ...]
    temperature: float = 1.0


@dataclass(frozen=True, slots=True)
class TokenScores:
    """`logprobs` [T] of the given tokens. With want="topk": `ids` [T, k] and `topk` [T, k] their log-probs, `tail` [T] the log of
    the remaining mass. With want="full": `full` [T, V]. Arrays are NumPy float32 / int32."""

    logprobs: Any
    ids: Any = None
    topk: Any = None
    tail: Any = None
    full: Any = None


class Codec(Protocol):
    """Text to ids and back for one policy. Foreign text passes through once; sampled ids never come back through it."""

    def open(self, messages: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a conversation up to where the assistant is to speak."""

    def follow(self, messages: Sequence[Message], ended: bool) -> tuple[int, ...]:
        """Ids to append after a sampled turn so that the assistant may speak again; `ended` tells whether it drew its end token."""

    def ended(self, tokens: Sequence[int]) -> bool:
        """Whether a reply's last token is an end token (a stop string only pauses it)."""

    @property
    def closing(self) -> tuple[int, ...]:
        """Ids that end a whole reply that someone else wrote."""

    def decode(self, ids: Sequence[int]) -> str:
        """Text of sampled ids, without special tokens."""

    def fragment(self, text: str) -> tuple[int, ...]:
        """Ids of plain text with no chat frame (a forced prefix of a reply)."""

    @property
    def limit(self) -> int:
        """Longest context plus reply in tokens."""


class Engine(Protocol):
    """Generates and scores tokens for one policy at a time.

    `capabilities` is a subset of {"generate", "score", "topk", "full", "embed"}. An engine may say `shared = True`: in a run of several
    ranks every rank then has one, which serves a share of the requests; otherwise the main rank's serves all.
    """

    capabilities: frozenset[str]

    def load(self, policy: Any) -> None:
        """Use this policy (a `policies.LivePolicy`) from now on."""

    def generate(self, requests: Sequence[GenerateRequest]) -> list[Completion]:
        """One completion per request, in order. Raises `errors.EngineError` naming the request when a context does not fit."""

    def score(
        self, requests: Sequence[ScoreRequest], want: Literal["sampled", "topk", "full"] = "sampled", k: int = 0
    ) -> list[TokenScores]:
        """Scores per request, in order."""


@runtime_checkable
class Resting(Protocol):
    """An engine that holds memory which the learner could use: it lets go of it while a policy trains."""

    def rest(self) -> None:
        """Give memory back until the next `load`."""


@runtime_checkable
class Twinned(Protocol):
    """An engine that lives in this process and costs nothing to have twice: two threads then need not take turns at one."""

    def twin(self) -> Engine:
        """Another engine with the same settings, and no policy yet."""


@runtime_checkable
class Metered(Protocol):
    """An engine whose use costs what the tokens of trajectories do not tell: calls, billed tokens, money."""

    def spent(self) -> Mapping[str, float]:
        """Named amounts since this was last asked; empty when the engine was not used. A stage logs them as "engine/<engine>/<name>"."""


@runtime_checkable
class Closing(Protocol):
    """A part of a run that holds processes, sockets or devices beyond it."""

    def close(self) -> None:
        """End them. Called once when the run ends, however it ends; a second call does nothing."""


@runtime_checkable
class Stateful(Protocol):
    """Saved by the run at the commit of the stage that touched it. `load_state_dict` refuses a state of another shape."""

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state (learners may also hold tensors)."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state that does not fit."""


class RunCtx(Protocol):
    """What any component may ask of the run. Seeds are a hash of (run seed, block path, stage, key): never global state."""

    name: str
    """The key under which the spec holds the component being called (a part's reward name, a column's name)."""
    iteration: int
    path: str

    def seed(self, *key: object) -> int:
        """A 63-bit seed for this stage and key."""

    def rng(self, *key: object) -> random.Random:
        """A generator from `seed(*key)`."""

    def value(self, number: Number) -> float:
        """The present value of a constant, schedule or metric."""

    def log(self, name: str, value: float) -> None:
        """Add a metric to this stage's line (name it "group/thing")."""

    def progress(self, done: int, total: int, what: str) -> None:
        """Say how far a long piece of work is: 12 of 256 "episodes"."""

    def history(self, metric: str) -> list[float]:
        """Committed values of a metric, oldest first."""

    def rows(self, table: str) -> list[Row]:
        """Rows of a table that the stage declared under `using`."""

    def read(self, memory: str) -> Mapping[str, str]:
        """Files of a memory as bound for the stage: name to text."""

    @property
    def held_out(self) -> frozenset[str]:
        """Ids of the tasks that evaluations hold out."""

    def versions(self, name: str) -> Sequence[Version]:
        """Every version of a policy or memory, oldest first."""

    def policy(self, ref: str) -> Any:
        """The `LivePolicy` behind "solver@base", "solver@ema", "judge@current", loaded frozen unless it is the live one."""

    def open(self, role: str, task: Task, prompt: str | None = None, **variables: str) -> tuple[int, ...]:
        """Context ids of a role's prompt (or the named one) for a task: for builders that swap contexts."""


class Retriever(Protocol):
    """Chooses what a role reads of a memory for one task."""

    def __call__(self, files: Mapping[str, str], task: Task) -> Mapping[str, str]:
        """Names of the chosen files to the text that is shown of each, in the order they are shown; may be empty."""


class TaskSource(Protocol):
    """Where tasks come from. Procedural sources are endless; finite ones also have `__len__` and `__iter__`."""

    def draw(self, rng: random.Random, category: str | None = None, level: float | None = None) -> Task:
        """One task, uniform over what matches. Raises `errors.UserError` when nothing can match."""

    @property
    def categories(self) -> tuple[str, ...]:
        """Every category it can produce."""

    @property
    def levels(self) -> tuple[float, ...]:
        """Every difficulty it can produce, ascending; empty when tasks carry none."""


Proposal = tuple[Any, ...]
"""A task as a parser read it: first what tells it from others (hashable), then what else it takes to make it. Strings, numbers, None
and tuples of them, so that a pool may hold a million; only what was drawn becomes a `Task`."""


class TaskParser(Protocol):
    """Reads a task out of what a policy wrote (a proposer's text)."""

    def parse(self, row: Row) -> Proposal | None:
        """What the row proposes; None when its text holds no task (counted, never guessed)."""

    def task(self, proposal: Proposal) -> Task:
        """The task that was proposed, its lineage naming the row's trajectory as parent."""


class Curriculum(Protocol):
    """Live choice of tasks; one that remembers anything is `Stateful` too. Held-out ids never come out: the stage refuses them and
    asks again under another `ctx.name`."""

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks for this stage."""

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Learn from scored rows (all of them, before any filter)."""


class Dialogue(Protocol):
    """One role's conversation inside an episode, and its trajectory in the making. See `rollouts.dialogue`."""

    @property
    def turns(self) -> tuple[Turn, ...]:
        """So far."""

    @property
    def room(self) -> int:
        """Tokens the conversation can still take before the policy's limit."""

    @property
    def context(self) -> tuple[int, ...]:
        """Ids that the next reply is conditioned on."""

    @property
    def ended(self) -> bool:
        """Whether the policy ended its reply (a stop string only pauses it)."""

    async def reply(self, *key: object, **sampling: Any) -> Turn:
        """The policy speaks; `sampling` overrides the role's settings; `key` names the draw within the episode."""

    def hear(self, text: str, source: Literal["tool", "env", "teacher", "judge", "data"] = "env", role: str = "user") -> Turn:
        """Foreign text, tokenised once, after which the policy may speak again."""

    def force(self, text: str, source: Literal["tool", "env", "teacher", "judge", "data"] = "data") -> Turn:
        """Foreign text placed at the start of the policy's next reply."""

    def record(self, text: str, source: Literal["tool", "env", "teacher", "judge", "data"] = "data") -> Turn:
        """A whole reply that someone else wrote, end token included: a demonstration, a dataset's chosen answer."""

    def fork(self, at: int | None = None) -> Dialogue:
        """A child that shares the turns so far (or the first `at` of them)."""

    def close(self, status: str | None = None, error: str | None = None, keys: Mapping[str, str] | None = None) -> Trajectory:
        """The trajectory. Status defaults to "truncated" when the last reply hit its length, else "finished"."""


class Seat(Protocol):
    """A role as bound for one episode: policy version, prompt, sampling, memories, engine."""

    name: str

    def open(self, task: Task, prompt: str | None = None, **variables: str) -> Dialogue:
        """Start a conversation from the role's prompt (or the named one) with the task's variables and these."""


class EpisodeCtx(RunCtx, Protocol):
    """The only door out of an episode. Everything asked through it is costed and seeded."""

    episode: str

    async def logprobs(self, seat: Seat, context: Sequence[int], tokens: Sequence[int]) -> list[float]:
        """Log-probs of given tokens under a seat's policy."""


class Environment(Protocol):
    """Tools, games, simulators; see `Game` for those of two seats. `snapshot` / `restore` are optional and needed by trees only."""

    def start(self, task: Task, seed: int) -> str:
        """First observation."""

    def step(self, action: str) -> tuple[str, bool, Mapping[str, float]]:
        """Observation, whether the episode is over, and named rewards."""


class Game(Environment, Protocol):
    """An environment of two seats, 0 and 1. `step` is a move of `seat`; its rewards, given when the game is over, are named "0" and "1". It
    raises `environments.IllegalMove` for a move that the rules do not allow and then stands as before."""

    @property
    def seat(self) -> int:
        """Who is to move, and for whom the last observation was."""

    def legal(self) -> Sequence[str]:
        """Moves that can be made now; empty for a game that does not list them."""


class Player(Protocol):
    """Plays without learning. It may look at the whole game."""

    def act(self, game: Game, rng: random.Random) -> str:
        """A legal move for the seat whose turn it is."""


class Answered(Protocol):
    """What a tool says: `text` for the policy; `status` "ok" or how the call failed."""

    @property
    def text(self) -> str:
        """Written into the reply."""

    @property
    def status(self) -> str:
        """For the record."""


class Tool(Protocol):
    """What a policy may call while it replies. Stateless, thread-safe, and never without an end."""

    def __call__(self, call: str, seed: int) -> Answered:
        """The answer to a call. Equal calls with equal seeds have equal answers."""


class Strategy(Protocol):
    """How one episode unfolds. Stateless; one strategy may yield several trajectories (trees, games, chains)."""

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Environment | None, ctx: EpisodeCtx) -> list[Trajectory]:
        """The trajectories of one episode."""


class Part(Protocol):
    """A verifier part. It sees all rows of its scope and the scores of the parts before it, and gives rewards under `ctx.name`."""

    scope: Literal["row", "group", "batch"]

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The same rows, in order, scored (`Row.rewarded`, `Row.failed`)."""


class Measure(Protocol):
    """Further numbers of an evaluation, from its judged rows."""

    def __call__(self, rows: Sequence[Row], solved: Callable[[Row], bool]) -> Mapping[str, float]:
        """Metric names (within the measure's own) to values. `rows`: every judged row but pruned ones, those with `final: "no"`
        included; `solved` is the suite's verdict on a row. A value that is not finite is left out of the log."""


class Builder(Protocol):
    """From rows to Samples. Pure: no sampling, no policy."""

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in a fixed order."""


class Advantage(Protocol):
    """A named column over samples. May be Stateful (running means)."""

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One column entry per sample (`samples[i].row` indexes `rows`)."""


class Batch(Protocol):
    """What a term sees. B rows padded to T response positions; every tensor lives on the learner's device, float32.

    For `stats` it spans the whole optimizer mini-batch (log-probs detached); for `loss` one micro-batch with gradients.
    """

    mask: Tensor  # [B, T] 1.0 where a response token counts
    logp: Tensor  # [B, T] log pi_theta(token) at the row's temperature
    size: int  # B

    def column(self, name: str) -> Tensor:
        """[B, T] (a per-row number is broadcast). Unknown names raise with the nearest column."""

    def row(self, name: str) -> Tensor:
        """[B] of a per-row column."""

    def need(self, name: str) -> Tensor | Mapping[str, Tensor]:
        """What `Term.needs` asked for: "logp:<policy ref>" [B, T], "entropy" [B, T], "value" [B, T], "topk:<context>" ids, logp, tail."""

    def units(self) -> Tensor:
        """[U, P] row indices of each unit, ordered by `Sample.place`. Raises when units differ in size."""

    def value(self, number: Number) -> float:
        """Present value of a varying number."""


class Term(Protocol):
    """A named summand of the objective. The learner owns reduction and denominators (`reduce`), so no loss depends on micro-batches."""

    needs: frozenset[str]
    level: Literal["token", "row", "unit"]
    reduce: Literal["tokens", "rows", "constant", "sum"]
    coef: Number

    def stats(self, batch: Batch) -> Mapping[str, Tensor]:
        """Scalars over the whole mini-batch, all ranks (an empty mapping when none are needed)."""

    def loss(self, batch: Batch, stats: Mapping[str, Tensor]) -> Tensor:
        """Unreduced: [B, T] for level "token", [B] for "row", [U] for "unit". Lower is better."""


class Optimizer(Stateful, Protocol):
    """Makes a new version of an evolvable thing from scored rows, or returns None when nothing was to be learned."""

    def update(self, target: Any, rows: Sequence[Row], ctx: RunCtx) -> Version | list[Version] | None:
        """`target` is a `policies.LivePolicy` or a `memories.Memory`. Of text an optimizer may make several versions: candidates."""


def each_item(value: Any) -> Iterator[Any]:
    """Items of a sequence, or the value itself: for settings that take one name or several."""
    if isinstance(value, (list, tuple)):
        yield from value
    else:
        yield value
