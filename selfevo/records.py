"""The nouns of selfevo: Task, Trajectory, Score, Sample, Version, and the small records they are made of.

Every record is a frozen dataclass of plain Python values, so this module imports neither torch nor Arrow.
`store.py` knows how each becomes a table row. Token ids are ints, log-probs are natural logarithms.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .quick import quick

Source = Literal["policy", "tool", "env", "teacher", "judge", "data"]
"""Who produced a turn. Only `policy` turns are ever trained on by default."""

Status = Literal["finished", "truncated", "failed", "pruned", "error"]
"""finished: ended by itself; truncated: hit a length or turn limit; failed: the environment ended it;
pruned: a strategy gave it up (its cost still counts); error: something broke, see `Trajectory.error`."""

ScoreStatus = Literal["ok", "error", "timeout", "abstain"]
"""How a verifier part ended on one subject. Only `ok` carries a reward: an error is never a silent zero."""


_CANONICAL = json.JSONEncoder(sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _canonical() -> Callable[[Any, int], Iterable[str]]:
    """What `_CANONICAL` writes with, built once: `encode` builds it anew for every value, which takes longer than to write a short one."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # an interpreter without the compiled encoder
        return lambda value, _: _CANONICAL.iterencode(value)
    text = json.encoder.encode_basestring  # type: ignore[attr-defined]
    return make(None, _CANONICAL.default, text, None, ":", ",", True, False, False)  # type: ignore[no-any-return]


_encode = _canonical()


def digest(value: Any, length: int = 16) -> str:
    """Hex digest of a JSON-able value: equal content, equal digest, on every machine and in every process."""
    return hashlib.sha256("".join(_encode(value, 0)).encode()).hexdigest()[:length]


@quick
@dataclass(frozen=True, slots=True)
class Message:
    """One chat message before tokenisation: `role` is a chat role (system, user, assistant, tool)."""

    role: str
    content: str


@quick
@dataclass(frozen=True, slots=True)
class Turn:
    """A contiguous piece of one trajectory, by one source.

    `tokens` [T] are the ids as sampled (or as foreign text was tokenised, once); they are never re-tokenised.
    `logprobs` [T] are behaviour log-probs at the sampling temperature, before top-p / top-k truncation; None for
    sources that are not a policy and for engines that give none.
    `context` holds every id the policy was conditioned on when it sampled the turn; empty for foreign turns.
    `version` names the policy version ("solver@000003") that produced the tokens.
    """

    source: Source
    text: str
    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] | None = None
    context: tuple[int, ...] = ()
    version: str | None = None
    temperature: float = 1.0
    finish: Literal["stop", "length", ""] = ""

    def __post_init__(self) -> None:
        if self.logprobs is not None and len(self.logprobs) != len(self.tokens):
            raise ValueError(f"a turn has {len(self.tokens)} tokens but {len(self.logprobs)} log-probs")


@quick
@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a task came from. `parent` is the id of a task or trajectory; `origin` says by what ("chain_sum", "follow", ...)."""

    origin: str
    parent: str | None = None


@quick
@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done. JSON-able: `vars` are prompt variables that a role's template renders.

    `id` defaults to a digest of the content, so the same question has the same id in every run: held-out checks rely on it.
    `turns` are turns to resume from (a conversation to continue, a prefix to branch from); `context` is then the ids before them.
    `prompt` names a template that takes the place of the role's for this task; "" leaves the choice to the role.
    """

    vars: Mapping[str, Any]
    answer: str | None = None
    category: str = ""
    difficulty: float | None = None
    environment: str | None = None
    lineage: Lineage = Lineage("given")
    turns: tuple[Turn, ...] = ()
    id: str = ""
    prompt: str = ""

    def __post_init__(self) -> None:
        if not self.id:
            content: list[Any] = [self.vars if type(self.vars) is dict else dict(self.vars), self.answer, self.category, self.environment]
            if self.turns:
                content.append([[t.source, t.text] for t in self.turns])
            if self.prompt:
                content.append(self.prompt)
            object.__setattr__(self, "id", digest(content))


@quick
@dataclass(frozen=True, slots=True)
class Step:
    """A span of a trajectory that is judged as one: token positions [start, end) in the concatenation of its turns."""

    start: int
    end: int


@quick
@dataclass(frozen=True, slots=True)
class Cost:
    """What something took. `discarded` counts generated tokens that no trajectory kept (retries, pruned branches)."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    discarded_tokens: int = 0
    calls: int = 0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(
            self.prompt_tokens + other.prompt_tokens,
            self.generated_tokens + other.generated_tokens,
            self.discarded_tokens + other.discarded_tokens,
            self.calls + other.calls,
            self.seconds + other.seconds,
        )


@quick
@dataclass(frozen=True, slots=True)
class Trajectory:
    """What one role did in one episode.

    `policy` is the version it started under ("solver@000003"; each policy turn repeats its own), `memories` every memory
    version it read. `parent` and `prefix` place it in a tree or chain: it shares the first `prefix` tokens of its turns with
    trajectory `parent`. An interaction of several roles is several trajectories that share an `episode`.
    `keys` are group keys as data (task, seat, turn, hop, state, bind ...); "group" names the rows compared with each other.
    """

    id: str
    task: Task
    role: str
    policy: str
    turns: tuple[Turn, ...]
    episode: str
    keys: Mapping[str, str] = field(default_factory=dict)
    memories: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None
    prefix: int = 0
    steps: tuple[Step, ...] = ()
    status: Status = "finished"
    error: str | None = None
    cost: Cost = Cost()

    @property
    def text(self) -> str:
        """What verifiers judge unless they ask for more: the last policy turn's text, with those of the policy turns right before it (a
        reply that stop strings paused is one reply), or that of the last recorded reply (data, teacher) where no policy spoke; "" when
        there is neither."""
        turns = self.turns
        if len(turns) == 1 and turns[0].source == "policy":  # nearly all
            return turns[0].text
        for sources in (("policy",), ("data", "teacher")):
            for end in range(len(turns) - 1, -1, -1):
                if turns[end].source in sources:
                    start = end
                    while start > 0 and turns[start].source == turns[start - 1].source == "policy":
                        start -= 1
                    return turns[end].text if start == end else "".join([turn.text for turn in turns[start : end + 1]])
        return ""

    @property
    def final(self) -> bool:
        """Whether it is what its episode came to. Strategies that record the way there as well (hops of a chain, critiques, earlier
        replies) give those the key `final: "no"`; evaluations count the others as samples."""
        return self.keys.get("final") != "no"

    @property
    def length(self) -> int:
        """Number of tokens the policy sampled, over all turns."""
        return sum(len(t.tokens) for t in self.turns if t.source == "policy")

    def spans(self) -> tuple[Step, ...]:
        """`steps`, or one step per policy turn where none were set."""
        if self.steps:
            return self.steps
        spans, at = [], 0
        for turn in self.turns:
            if turn.source == "policy":
                spans.append(Step(at, at + len(turn.tokens)))
            at += len(turn.tokens)
        return tuple(spans)


@quick
@dataclass(frozen=True, slots=True)
class Score:
    """A judgement of (subject, step). `step` None judges the whole subject.

    `rewards` are kept apart by the name of the part that gave them; a part that failed has no reward and a `statuses` entry
    other than "ok" with its message in `errors`. `verdicts` are per-rubric or per-test outcomes, `info` anything worth showing.
    `keep` False takes the subject out of training and out of "filled" counts, but never out of the table.
    """

    subject: str
    kind: Literal["trajectory", "task", "version"] = "trajectory"
    step: int | None = None
    rewards: Mapping[str, float] = field(default_factory=dict)
    feedback: str | None = None
    verdicts: Mapping[str, float] = field(default_factory=dict)
    statuses: Mapping[str, ScoreStatus] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    keep: bool = True


@quick
@dataclass(frozen=True, slots=True)
class Row:
    """A trajectory with what has been said of it: the unit that verifiers, curricula, builders and optimizers pass on.

    `score` judges the whole trajectory, `steps` its steps in order (empty where nothing judged them).
    """

    trajectory: Trajectory
    score: Score
    steps: tuple[Score, ...] = ()

    @classmethod
    def of(cls, trajectory: Trajectory) -> Row:
        """A row nothing has judged yet."""
        return cls(trajectory, Score(trajectory.id))

    @property
    def group(self) -> str:
        """Key of the rows this one is compared with: the `group` key, else the task id."""
        return self.trajectory.keys.get("group", self.trajectory.task.id)

    def key(self, *names: str) -> tuple[str, ...]:
        """Values of the named group keys; `task`, `role`, `episode` and `group` are always there. Unknown names raise KeyError."""
        t = self.trajectory
        known = {"task": t.task.id, "role": t.role, "episode": t.episode, "group": self.group, "category": t.task.category}
        return tuple(t.keys[n] if n in t.keys else known[n] for n in names)

    def reward(self, name: str) -> float | None:
        """The named reward, or None where the part gave none (error, time-out, abstention)."""
        return self.score.rewards.get(name)

    def rewarded(self, name: str, value: float, **changes: Any) -> Row:
        """This row with one more reward (status "ok"); `changes` go to the score (feedback=..., info=..., keep=...)."""
        s = self.score
        if "info" in changes:
            changes["info"] = {**s.info, **changes["info"]}
        if "verdicts" in changes:
            changes["verdicts"] = {**s.verdicts, **changes["verdicts"]}
        score = replace(s, rewards={**s.rewards, name: float(value)}, statuses={**s.statuses, name: "ok"}, **changes)
        return replace(self, score=score)

    def failed(self, name: str, status: ScoreStatus, message: str) -> Row:
        """This row with part `name` recorded as not ok: no reward is set, so nothing downstream can read a zero."""
        s = self.score
        score = replace(s, statuses={**s.statuses, name: status}, errors={**s.errors, name: message})
        return replace(self, score=score)


Column = float | tuple[float, ...]
"""A number for the row, or one per token of its response."""


@quick
@dataclass(frozen=True, slots=True)
class Sample:
    """One training row: `response` ids [T] and the named contexts it is scored under.

    `contexts["train"]` is what the gradient sees; others ("teacher", ...) may differ from it and from what was sampled under.
    `columns` are open: a number for the row or an array over its T tokens. Names with a meaning to the learner: `mask` (1 where
    the loss applies; default all), `logp:sampler` (behaviour log-probs; absent once the context was changed), `temperature`.
    `steps` are spans of `response`. Rows with the same `unit` stay in one micro-batch, ordered by `place` in it.
    `row` is the index of the source row in the list the builder was given, -1 for none.
    """

    id: str
    response: tuple[int, ...]
    contexts: Mapping[str, tuple[int, ...]]
    columns: Mapping[str, Column] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    unit: str = ""
    place: int = 0
    row: int = -1

    def __post_init__(self) -> None:
        if "train" not in self.contexts:
            raise ValueError(f"sample {self.id} has no context named 'train' (it has {sorted(self.contexts)})")
        for name, column in self.columns.items():
            if isinstance(column, tuple) and len(column) != len(self.response):
                raise ValueError(f"sample {self.id}: column {name!r} has {len(column)} values for {len(self.response)} tokens")

    def with_context(self, name: str, ids: Sequence[int]) -> Sample:
        """This sample under another context. Changing `train` drops the sampler's log-probs: they no longer describe it."""
        columns = self.columns
        if name == "train" and tuple(ids) != self.contexts["train"]:
            columns = {k: v for k, v in columns.items() if k != "logp:sampler"}
        return replace(self, contexts={**self.contexts, name: tuple(ids)}, columns=columns)

    def with_columns(self, **columns: Column) -> Sample:
        """This sample with columns added or replaced."""
        return replace(self, columns={**self.columns, **columns})


@quick
@dataclass(frozen=True, slots=True)
class Version:
    """An immutable snapshot of an evolvable thing (weights or text). Its parents make the versions of one name a DAG.

    `id` counts up within `name` ("000003"); `made_by` is the path of the stage that made it ("main.2/train").
    """

    name: str
    id: str
    parents: tuple[str, ...] = ()
    kind: Literal["weights", "text"] = "weights"
    made_by: str = ""
    info: Mapping[str, str] = field(default_factory=dict)

    @property
    def ref(self) -> str:
        """ "name@id", as trajectories and manifests write it."""
        return f"{self.name}@{self.id}"


def groups(rows: Iterable[Row], by: Sequence[str] = ("group",)) -> dict[tuple[str, ...], list[Row]]:
    """Rows collected by the named keys, in order of first appearance."""
    out: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        out.setdefault(row.key(*by), []).append(row)
    return out
