"""Synthetic trajectories of the quickstart's shape, made group by group so that any number of them takes the memory of one group.

16 rows share a task and a prompt of 40 to 120 character-level ids. A reply works out the sum line by line, may slip, and may ramble:
lengths have a tail that ends at 96 tokens, where a reply is cut off. Log-probs are float32 values drawn apart for every token of every
row, over five orders of magnitude: the hardest kind to compress (a real policy repeats itself within a group). A row has two rewards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from selfevo.records import Cost, Lineage, Row, Score, Task, Trajectory, Turn

GROUP, LIMIT = 16, 96
ALPHABET = {c: i for i, c in enumerate("\0\1\2\3 \n#?=+-*/.,:;0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")}
ASKS = (
    "Sum: ",
    "Work out the sum step by step and end with ####. ",
    "Add up from left to right, one line for each step, and write the result after ####: ",
)


def rows(n: int, seed: int = 0) -> Iterator[Row]:
    """`n` judged rows, the same ones for the same seed."""
    for start in range(0, n, GROUP):
        yield from group(start // GROUP, min(GROUP, n - start), seed)


def group(number: int, size: int, seed: int = 0) -> list[Row]:
    """The rows of one group."""
    rng = np.random.default_rng((seed, number))
    values = [int(x) for x in rng.integers(-98, 99, size=int(rng.integers(3, 9)))]
    expression = "".join(f"{x:+d}" for x in values).removeprefix("+")
    question = (ASKS[int(rng.integers(3))] + expression + "=?").rjust(40, ".")
    task = Task({"question": question, "category": "chain_sum", "level": len(values), "expression": expression},
                str(sum(values)), "chain_sum", float(len(values)), lineage=Lineage("chain_sum"))
    logprobs = (-np.exp(rng.normal(-4, 3, size=(size, LIMIT)))).astype(np.float32).tolist()
    slips, circles = (rng.random((size, len(values))) < 0.05).tolist(), (rng.random((size, len(values))) < 0.16).tolist()
    place = Place(f"main.{number // 16}/rollout", number % 16, f"solver@{number // 16:06d}")
    prompt = f"\1{question}\2"
    return [_row(place, i, task, prompt, _reply(values, slips[i], circles[i]), logprobs[i]) for i in range(size)]


class Place(NamedTuple):
    """The table a group is in, its number there, and the version that speaks."""

    table: str
    group: int
    version: str


def _row(place: Place, i: int, task: Task, prompt: str, reply: str, logprobs: list[float]) -> Row:
    cut = len(reply) >= LIMIT
    context, tokens = _ids(prompt), _ids(reply[:LIMIT] if cut else reply + "\3")
    turn = Turn("policy", reply[:LIMIT], tokens, tuple(logprobs[: len(tokens)]), context, place.version, 1.0, "length" if cut else "stop")
    key, episode = f"{place.table}/{place.group:05d}", f"{place.table}/{place.group:05d}-{place.group * GROUP + i:05d}"
    cost, status = Cost(len(context), len(tokens), 0, 1), "truncated" if cut else "finished"
    t = Trajectory(f"{episode}.0", task, "solver", place.version, (turn,), episode, {"group": key, "sample": str(i)},
                   status=status, cost=cost)  # type: ignore[arg-type]
    right = float(not cut and reply.rpartition("#### ")[2] == task.answer)
    shape = round(1 - len(tokens) / LIMIT, 6)
    ok = dict.fromkeys(("exact", "shape", "score"), "ok")
    return Row(t, Score(t.id, rewards={"exact": right, "shape": shape, "score": 0.9 * right + 0.1 * shape}, statuses=ok))  # type: ignore[arg-type]


def _reply(values: Sequence[int], slips: Sequence[bool], circles: Sequence[bool]) -> str:
    """The sum in lines; some of them slip by ten, some are said twice."""
    total, lines = values[0], []
    for value, slip, again in zip(values[1:], slips, circles, strict=False):
        after = total + value + (10 if slip else 0)
        lines += [f"{total}{value:+d}={after}"] * (2 if again else 1)
        total = after
    return "\n".join([*lines, f"#### {total}"])


def _ids(text: str) -> tuple[int, ...]:
    return tuple(map(ALPHABET.__getitem__, text))
