"""The work that both sides are given: prompts of chained sums, reply lengths with a long tail, scored rows."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from selfevo.records import Message, Row, Task, Trajectory, Turn


def lengths(n: int, high: int, mean: float, sigma: float = 0.8, low: int = 8, seed: int = 0) -> list[int]:
    """n draws of a lognormal distribution with this mean, clipped to [low, high]; the longest is `high` itself."""
    rng = random.Random(f"lengths {seed}")
    drawn = [min(high, max(low, round(rng.lognormvariate(math.log(mean) - sigma**2 / 2, sigma)))) for _ in range(n)]
    drawn[rng.randrange(n)] = high
    return drawn


def tasks(n: int, seed: int = 0) -> list[Task]:
    """n chained sums, worded as in the quickstart."""
    from selfevo.tasks import ChainSum

    rng, source = random.Random(f"tasks {seed}"), ChainSum()
    return [source.draw(rng) for _ in range(n)]


def prompt(codec: Any, task: Task) -> tuple[int, ...]:
    """Ids of a task's prompt (the `solve` template of configs/prompts/terse.yaml is the question alone)."""
    return codec.open([Message("user", task.vars["question"])])


def row(task: Task, context: Sequence[int], reply: Sequence[int], logps: Sequence[float], text: str, reward: float, name: str) -> Row:
    """One scored trajectory of one turn; rows of one task are a group."""
    turn = Turn("policy", text, tuple(reply), tuple(logps), tuple(context), "solver@000000", 1.0, "stop")
    return Row.of(Trajectory(name, task, "solver", "solver@000000", (turn,), name, {"group": task.id})).rewarded("score", reward)


def training_rows(policy: Any, n: int, group: int, high: int, mean: float, seed: int = 0) -> list[Row]:
    """n rows in groups of `group`, replies of random ordinary tokens; every group has both rewards, so that no row has gradient zero.

    The log-probs are the policy's own, as a sampler would have recorded them.
    """
    from selfevo.engines import Native
    from selfevo.protocols import ScoreRequest

    rng = random.Random(f"rows {seed}")
    vocabulary = policy.model.config.vocab_size
    sizes = lengths(n, high, mean, seed=seed)
    chosen = tasks(n // group, seed)
    requests = [
        ScoreRequest(prompt(policy.codec, chosen[i // group]), tuple(rng.randrange(3, vocabulary) for _ in range(size)))
        for i, size in enumerate(sizes)
    ]
    engine = Native()
    engine.load(policy)
    scores = engine.score(requests)
    return [
        row(chosen[i // group], r.context, r.tokens, s.logprobs.tolist(), "", float(i % 3 == 0), f"row{i}")
        for i, (r, s) in enumerate(zip(requests, scores, strict=True))
    ]


def pairs(rows: Sequence[Row]) -> list[tuple[int, int]]:
    """(prompt, reply) lengths in tokens."""
    return [(len(r.trajectory.turns[0].context), len(r.trajectory.turns[0].tokens)) for r in rows]


def groups(rows: Sequence[Row]) -> list[tuple[int, list[int]]]:
    """(prompt, replies) lengths of each group."""
    found: dict[str, tuple[int, list[int]]] = {}
    for (p, r), one in zip(pairs(rows), rows, strict=True):
        found.setdefault(one.group, (p, []))[1].append(r)
    return list(found.values())

