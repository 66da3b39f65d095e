"""How time grows: iterations, group size, reply length, tree size, number of roles. The exponent is the slope of log time over log size."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.context import Context
from benchmarks.figures import Figure, exponent, interleaved
from benchmarks.grpo_sides import Stopwatch
from benchmarks.policies import policy
from benchmarks.training import learner
from benchmarks.workloads import prompt, tasks, training_rows
from selfevo import spec
from selfevo.protocols import EpisodeCtx, GenerateRequest, Sampling, Seat
from selfevo.records import Task, Trajectory
from selfevo.running import execute

THREADS = 1
TOPIC = "growth"


def grown(what: str, calls: Mapping[int, Callable[[], Any]], repeats: int, aim: float, note: str = "", own: bool = False) -> Figure:
    """The exponent of calls by size; `own`: the calls return their seconds (what they do around the measured part is not counted)."""
    if own:
        times: dict[int, list[float]] = {n: [] for n in calls}
        for _ in range(repeats):
            for n, call in calls.items():
                times[n].append(call())
    else:
        named = interleaved({str(n): call for n, call in calls.items()}, repeats)
        times = {int(n): t for n, t in named.items()}
    slopes = sorted(exponent(list(times), [t[i] for t in times.values()]) for i in range(repeats))
    middle = slopes[len(slopes) // 2]
    detail = {"seconds": {str(n): t for n, t in times.items()}}
    sizes = list(calls)
    return Figure(
        TOPIC, f"{what}, {sizes[0]} to {sizes[-1]}", "size to the power of", middle, slopes[0], slopes[-1], unit="",
        aim=aim, better="lower", repeats=repeats, note=note, detail=detail,
    )  # fmt: skip


class Tree:
    """A full binary tree of replies: every node continues its parent's conversation; leaves close."""

    def __init__(self, depth: int):
        self.depth = depth

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Any, ctx: EpisodeCtx) -> list[Trajectory]:
        """2^(depth+1) - 1 replies, one trajectory a leaf."""
        talks: list[Any] = [seats["solver"].open(task)]
        await talks[0].reply()
        for _ in range(self.depth):
            children = [child for talk in talks for child in (talk.fork(), talk.fork())]
            for child in children:
                child.hear("go on")
                await child.reply()
            talks = children
        return [talk.close() for talk in talks]


class Round:
    """Every seat answers once."""

    async def run(self, task: Task, seats: Mapping[str, Seat], env: Any, ctx: EpisodeCtx) -> list[Trajectory]:
        """A trajectory a seat."""
        talks: list[Any] = [seat.open(task) for seat in seats.values()]
        for talk in talks:
            await talk.reply()
        return [talk.close() for talk in talks]


SCRIPTED = ("loop=blank", "model=scripted", "engine=scripted")


def seconds(overrides: Sequence[str], experiment: Mapping[str, Any] | None = None) -> float:
    """A run's seconds from its first stage to its last commit; `experiment`: the content of a config file that is added last."""
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "configs" / "experiment" / "grown.yaml"
        file.parent.mkdir(parents=True)
        file.write_text("# @package _global_\n" + json.dumps(experiment or {}))
        chosen = [*overrides, "+experiment=grown"] if experiment else list(overrides)
        execute(spec.read(chosen, [str(Path(folder) / "configs")]), Path(folder) / "run", observers=[watch])
    return watch.ended - watch.began


def iterations(n: int) -> list[str]:
    """The quickstart at small sizes, without evaluations."""
    small = ["scale.tasks=2", "scale.group=4", "scale.max_tokens=24", "loop.start=null", "loop.main.do=[rollout,score,train]"]
    return ["+experiment=quickstart", "stages.evaluate=null", *small, f"scale.iterations={n}"]


def scripted(seats: Mapping[str, str], n: int, strategy: Mapping[str, Any]) -> dict[str, Any]:
    """A run of one rollout stage with replies from a script."""
    return {
        "policies": {"solver": "${model}"},
        "engine": {"replies": ["#### 1", "#### 2"]},
        "roles": {role: {"policy": "solver", "prompt": "solve"} for role in seats.values()},
        "stages": {"rollout": {"kind": "rollout", "seats": dict(seats), "tasks": "task", "n": n, "strategy": dict(strategy)}},
        "loop": {"main": {"do": ["rollout"]}},
    }


def tree(nodes: int) -> float:
    """Seconds of four trees of about `nodes` replies."""
    depth = round(math.log2(nodes + 1)) - 1
    return seconds(SCRIPTED, scripted({"solver": "solver"}, 4, {"_target_": "benchmarks.growth.Tree", "depth": depth}))


def seats(roles: int) -> float:
    """Seconds of 64 episodes of `roles` roles."""
    return seconds(SCRIPTED, scripted({f"s{i}": f"r{i}" for i in range(roles)}, 64, {"_target_": "benchmarks.growth.Round"}))


def group_of(live: Any, n: int) -> Callable[[], Any]:
    """Sampling a group of n replies of 64 tokens and one update on n rows."""
    from selfevo.engines import Native

    engine, one, ctx = Native(), learner(), Context()
    engine.load(live)
    context = prompt(live.codec, tasks(1)[0])
    requests = [GenerateRequest(context, seed, Sampling(64)) for seed in range(n)]
    rows = training_rows(live, n, n, 64, 40)
    return lambda: (engine.generate(requests), one.update(live, rows, ctx))


def length_of(live: Any, n: int) -> Callable[[], Any]:
    """Sampling 16 replies of n tokens, and one update on 16 rows of up to n tokens."""
    from selfevo.engines import Native

    engine, one, ctx = Native(), learner(), Context()
    engine.load(live)
    context = prompt(live.codec, tasks(1)[0])
    requests = [GenerateRequest(context, seed, Sampling(n)) for seed in range(16)]
    rows = training_rows(live, 16, 16, n, n)
    return lambda: (engine.generate(requests), one.update(live, rows, ctx))


def figures(quick: bool) -> list[Figure]:
    """One exponent a line."""
    repeats = 1 if quick else 3
    counts = (2, 4) if quick else (8, 16, 32, 64)
    nodes = (7, 15) if quick else (63, 127, 255, 511)
    roles = (1, 2) if quick else (2, 4, 8, 16)
    groups = (8, 16) if quick else (16, 32, 64, 128, 256)
    lengths = (16, 32) if quick else (64, 128, 256, 512)
    live = policy("1M")
    live.codec.__dict__["ends"] = frozenset()  # replies run to their whole length
    return [
        grown("iterations of a run", {n: lambda n=n: seconds(iterations(n)) for n in counts}, repeats, 1.1, own=True),
        grown("group size: sample and update", {n: group_of(live, n) for n in groups}, repeats, 1.1),
        grown(
            "reply length: sample and update 16 rows", {n: length_of(live, n) for n in lengths}, repeats, 1.5,
            note="attention to what went before is quadratic, everything else linear",
        ),
        grown("replies in a tree (scripted)", {n: lambda n=n: tree(n) for n in nodes}, repeats, 1.1, own=True,
              note="every reply records its whole context: the tables grow with the depth as well"),
        grown("roles in an episode (scripted)", {n: lambda n=n: seats(n) for n in roles}, repeats, 1.1, own=True),
    ]  # fmt: skip
