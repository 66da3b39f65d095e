"""A sealed evaluation: which tasks, how they are sampled and judged, and the numbers reported."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

from ..errors import UserError, nearest
from ..protocols import Measure, Part, TaskSource
from ..records import Row, Task, groups
from ..references import turn
from ..seeds import rng
from ..verifiers.answers import Extract, answer_of
from .estimators import interval, maj_at_k, pass_at_k

BREAKDOWNS: dict[str, Callable[[Task], str]] = {
    "category": lambda task: task.category,
    "level": lambda task: "" if task.difficulty is None else f"{task.difficulty:g}",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """One task's samples: whether each was solved, and what each answered (None: no well-formed answer)."""

    task: Task
    solved: tuple[bool, ...]
    answers: tuple[str | None, ...]

    @property
    def rate(self) -> float:
        """Share of the samples that solved the task."""
        return sum(self.solved) / len(self.solved)


class Suite:
    """A fixed list of tasks, never trained on, with the verifier that judges them.

    The tasks depend on `name`, `seed` and `source` alone: every run, whatever its own seed, is measured on the same ones.

    Args:
        name: as in its metrics, "eval/<name>/pass@1".
        source: where the tasks come from.
        n: number of distinct tasks; None takes every task of a finite source.
        samples: trajectories per task.
        verifier: parts that judge them (a mapping, as everywhere).
        seed: chooses another list of tasks.
        temperature, top_p, top_k: sampling; temperature 0 is greedy.
        max_tokens: reply limit; None leaves the role's.
        k: the k of pass@k and maj@k, each at most `samples`; None means `samples` alone, an empty list none.
        correct: name of the reward that decides.
        threshold: a sample solved its task when that reward is at least this.
        bootstrap: resamples of the interval of pass@1; 0 leaves it out.
        by: break pass@1 down by these ("category", "level").
        measures: further numbers by name, logged as "eval/<suite>/<name>/...".
    """

    def __init__(
        self,
        name: str,
        source: TaskSource,
        n: int | None,
        samples: int,
        verifier: Mapping[str, Part],
        seed: int = 0,
        temperature: float = 1.0,
        top_p: float = 1.0,
        top_k: int = 0,
        max_tokens: int | None = None,
        k: Sequence[int] | None = None,
        correct: str = "score",
        threshold: float = 0.5,
        bootstrap: int = 1000,
        by: Sequence[Literal["category", "level"]] = ("category", "level"),
        measures: Mapping[str, Measure] | None = None,
    ):
        if not name or "/" in name:
            raise UserError(f"suite: name {name!r} must be a word without '/', for it is part of metric names")
        for what, number, least in (("n", n, 1), ("samples", samples, 1), ("bootstrap", bootstrap, 0), ("max_tokens", max_tokens, 1)):
            if number is not None and number < least:
                raise UserError(f"suite '{name}': {what} is {number}; expected at least {least}")
        if temperature < 0 or not 0 < top_p <= 1 or top_k < 0:
            raise UserError(f"suite '{name}': needs temperature >= 0, 0 < top_p <= 1, top_k >= 0; got {temperature}, {top_p}, {top_k}")
        self.k = tuple(sorted({samples} if k is None else set(k)))
        for each in self.k:
            if not 1 <= each <= samples:
                raise UserError(f"suite '{name}': k contains {each}; expected 1 to {samples} (the number of samples)")
        for each_by in by:
            if each_by not in BREAKDOWNS:
                raise UserError(f"suite '{name}': by contains '{each_by}'{nearest(each_by, BREAKDOWNS)}")
        if not verifier:
            raise UserError(f"suite '{name}': its verifier has no parts")
        self.name, self.source, self.n, self.samples, self.verifier, self.seed = name, source, n, samples, verifier, seed
        self.temperature, self.top_p, self.top_k, self.max_tokens = temperature, top_p, top_k, max_tokens
        self.correct, self.threshold, self.bootstrap, self.by = correct, threshold, bootstrap, tuple(by)
        self.measures = dict(measures or {})
        self._tasks: tuple[Task, ...] | None = None
        self._held_out: frozenset[str] | None = None

    def tasks(self) -> list[Task]:
        """The fixed list, ids all distinct. Raises UserError when the source has fewer than `n` distinct tasks."""
        if self._tasks is None:
            self._tasks = tuple(self._choose())
        return list(self._tasks)

    def part(self, take: int | None, path: str) -> list[Task]:
        """All tasks, or the slice of `take` tasks for the iteration that `path` is in (see `references.turn`); empty past the end."""
        tasks = self.tasks()
        return tasks if take is None else tasks[turn(path) * take : (turn(path) + 1) * take]

    @property
    def held_out(self) -> frozenset[str]:
        """Ids that no curriculum may hand out."""
        if self._held_out is None:
            self._held_out = frozenset(task.id for task in self.tasks())
        return self._held_out

    def _choose(self) -> list[Task]:
        """A seeded shuffle of a finite source, or draws from an endless one; repeated ids count once."""
        random = rng("suite", self.name, self.seed)
        size = _size(self.source)
        if size is not None:
            order = list(range(size))
            random.shuffle(order)
            items: Any = self.source if hasattr(self.source, "__getitem__") else list(self.source)  # type: ignore[call-overload]
            drawn = (items[i] for i in order)
        elif self.n is None:
            raise UserError(f"suite '{self.name}': n is null, but its source is endless; give a number")
        else:
            patience = 20 * self.n + 2000  # an endless source that repeats itself this often has run out of distinct tasks
            drawn = (self.source.draw(random) for _ in range(patience))
        found = list(islice(_distinct(drawn), self.n))
        if not found or (self.n is not None and len(found) < self.n):
            raise UserError(f"suite '{self.name}': its source gave only {len(found)} distinct tasks; n is {self.n}")
        return found

    def metrics(self, rows: Sequence[Row]) -> dict[str, float]:
        """The numbers of one evaluation, all named "eval/<name>/...".

        pass@1: mean over tasks of the share of samples that solved it, with pass@1/low and /high (95% bootstrap over tasks) and
            pass@1/category=..., pass@1/level=... where tasks carry them.
        pass@k, maj@k: see `estimators`; answers are what the verifier left in `info["answer"]`.
        reward: mean of the deciding reward over the rows that have one. errors: number of rows without one (a broken episode, a
            verifier's error, time-out or abstention). Such a row did not solve its task, and is counted here so that nobody takes it
            for a wrong answer.
        answered: share of samples with a well-formed answer. precision: share of those that are right. distinct: mean over tasks of
            distinct answers per answer given. truncated: share cut off by a limit.
        length: mean sampled tokens. entropy: mean of -log p over sampled tokens, in nats: a Monte Carlo estimate of the policy's entropy
            per token at the sampling temperature (left out when the engine gives no log-probs). tasks, samples: numbers of each.

        Pruned trajectories are not samples, and neither is what an episode passed through on its way (`Trajectory.final`); measures
        see the latter. Raises UserError when no row is left or a task has fewer samples than the largest k.
        """
        judged = [row for row in rows if row.trajectory.status != "pruned"]
        rows = [row for row in judged if row.trajectory.final]
        if not rows:
            raise UserError(f"suite '{self.name}': there are no rows to measure")
        tallies = self._tallies(rows)
        out = {"pass@1": _mean([t.rate for t in tallies]), **self._breakdown(tallies), **self._at_k(tallies)}
        if self.bootstrap:
            out["pass@1/low"], out["pass@1/high"] = interval([t.rate for t in tallies], self.bootstrap, self.name, self.seed)
        out |= self._judgements(rows, tallies)
        out |= _sampled(rows)
        for name, measure in self.measures.items():
            out |= {f"{name}/{key}": value for key, value in measure(judged, self.solved).items()}
        return {f"eval/{self.name}/{name}": float(value) for name, value in out.items()}

    def solved(self, row: Row) -> bool:
        """Whether a judged row solved its task: one without a verdict did not."""
        reward = row.reward(self.correct)
        return reward is not None and reward >= self.threshold

    def _tallies(self, rows: Sequence[Row]) -> list[Tally]:
        """One per task, ordered by task id, so that no number depends on the order of rows."""
        extract = Extract()
        given = any("answer" in row.score.info for row in rows)
        tallies, most = [], max(self.k, default=1)
        for (_id,), mine in sorted(groups(rows, ["task"]).items()):
            if len(mine) < most:
                raise UserError(f"suite '{self.name}': task {_id} has {len(mine)} samples; pass@{most} needs {most}")
            answers = tuple(row.score.info.get("answer") if given else answer_of(row, extract) for row in mine)
            tallies.append(Tally(mine[0].trajectory.task, tuple(map(self.solved, mine)), answers))
        return tallies

    def _breakdown(self, tallies: Sequence[Tally]) -> dict[str, float]:
        rates: dict[str, list[float]] = {}
        for by in self.by:
            for tally in tallies:
                if value := BREAKDOWNS[by](tally.task):
                    rates.setdefault(f"pass@1/{by}={value}", []).append(tally.rate)
        return {name: _mean(rates[name]) for name in sorted(rates)}

    def _at_k(self, tallies: Sequence[Tally]) -> dict[str, float]:
        out = {}
        for k in self.k:
            if k > 1:
                out[f"pass@{k}"] = _mean([pass_at_k(len(t.solved), sum(t.solved), k) for t in tallies])
            out[f"maj@{k}"] = _mean([maj_at_k(t.answers, t.solved, k) for t in tallies])
        return out

    def _judgements(self, rows: Sequence[Row], tallies: Sequence[Tally]) -> dict[str, float]:
        rewards = [r for row in rows if (r := row.reward(self.correct)) is not None]
        answered = [ok for t in tallies for ok, a in zip(t.solved, t.answers, strict=True) if a is not None]
        distinct = [len(set(given)) / len(given) for t in tallies if (given := [a for a in t.answers if a is not None])]
        out = {"errors": float(len(rows) - len(rewards)), "answered": len(answered) / len(rows)}
        out |= {"tasks": float(len(tallies)), "samples": float(len(rows))}
        out |= {"reward": _mean(rewards)} if rewards else {}
        out |= {"precision": sum(answered) / len(answered), "distinct": _mean(distinct)} if answered else {}
        return out


def _size(source: TaskSource) -> int | None:
    """Number of tasks of a finite source; None for an endless one, which has no length or refuses to tell it."""
    try:
        return len(source)  # type: ignore[arg-type]
    except TypeError:
        return None


def _distinct(tasks: Iterable[Task]) -> Iterable[Task]:
    """Tasks whose id was not seen before."""
    seen: set[str] = set()
    for task in tasks:
        if task.id not in seen:
            seen.add(task.id)
            yield task


def _sampled(rows: Sequence[Row]) -> dict[str, float]:
    """What the sampling itself looked like: truncated, length, entropy."""
    out = {
        "truncated": sum(row.trajectory.status == "truncated" for row in rows) / len(rows),
        "length": sum(row.trajectory.length for row in rows) / len(rows),
    }
    logprobs = [x for row in rows for t in row.trajectory.turns if t.source == "policy" and t.logprobs is not None for x in t.logprobs]
    if logprobs:
        out["entropy"] = -_mean(logprobs)
    return out


def _mean(values: Sequence[float]) -> float:
    """Arithmetic mean, correctly rounded, so that it does not depend on the order of values."""
    return math.fsum(values) / len(values)
