"""Mathematical verdicts per second on one core, beside TRL's reward and plain math-verify."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.verifiers import Math

from .figures import Figure, faster, seconds
from .math_pairs import distinct, grouped

THREADS = 1
Pairs = Sequence[tuple[str, str]]
BOMBS = ("9^{9^{9^9}}", "100000000!!")
"""Answers that take for ever."""
PATIENCE = 25.0
"""Seconds after which a peer that hangs is killed."""


@dataclass
class Ctx:
    """As much of a run's context as the part reads."""

    name: str = "math"


def rows(pairs: Pairs) -> list[Row]:
    """Judged replies, each with its boxed answer."""
    return [
        Row.of(Trajectory(f"t{i}", Task({}, gold, id=f"q{i}"), "solver", "solver@0", (Turn("policy", f"So it is \\boxed{{{a}}}."),), "e"))
        for i, (gold, a) in enumerate(pairs)
    ]


def ours(judged: Sequence[Row]) -> list[float | None]:
    """Verdicts of one worker process: None where it says that it could not judge."""
    ctx: Any = Ctx()
    return [row.reward("math") for row in Math(extract="boxed", workers=1)(judged, ctx)]


def trl(pairs: Pairs) -> list[float | None]:
    """TRL's verdicts, in this process; references are in dollars, as it expects LaTeX."""
    from trl.rewards import accuracy_reward

    return accuracy_reward([[{"content": f"So it is \\boxed{{{a}}}."}] for _, a in pairs], [f"${gold}$" for gold, _ in pairs])


def plain(pairs: Pairs) -> list[float | None]:
    """math-verify's own verdicts, in this process, both sides parsed for every pair; None where it raises or reads no reference."""
    from selfevo.verifiers import math_worker

    out: list[float | None] = []
    for gold, answer in pairs:
        math_worker.parsed.cache_clear()
        try:
            out.append(float(math_worker.judge(gold, answer)["right"]))
        except Exception:  # sympy raises nearly anything; ours then says "error", which is None here too
            out.append(None)
    return out


def apart() -> ProcessPoolExecutor:
    """One process for a peer, on the same core."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def asked(pool: ProcessPoolExecutor, call: Callable[[Pairs], list[float | None]], pairs: Pairs) -> list[float | None]:
    """What a peer says, in its process."""
    return pool.submit(call, pairs).result()


def beside(what: str, batches: Sequence[Pairs], note: str) -> list[Figure]:
    """New pairs in every repeat, since all three remember expressions; one batch warms everything up."""
    times: dict[str, list[float]] = {"ours": [], "trl": [], "plain": []}
    agree = {"plain": 0, "trl": 0}
    with apart() as alone, apart() as with_trl:  # sympy remembers too, so that no one may see what another has just compared
        for pairs in batches:
            judged, said = rows(pairs), {}
            peers = {"trl": partial(asked, with_trl, trl, pairs), "plain": partial(asked, alone, plain, pairs)}
            calls = {"ours": partial(ours, judged), **peers}
            for name, call in calls.items():
                began = time.perf_counter()
                said[name] = call()
                times[name].append((time.perf_counter() - began) / len(pairs))
            for peer in agree:
                agree[peer] += sum(a == b for a, b in zip(said["ours"], said[peer], strict=True))
    times = {name: found[1:] for name, found in times.items()}
    total = sum(map(len, batches))
    per_second = {name: round(len(t) / sum(t)) for name, t in times.items()}
    detail = {"per_second": per_second, "pairs": total, "as_math_verify": agree["plain"], "as_trl": agree["trl"]}
    out = [faster("verdicts", what, "trl.rewards.accuracy_reward", times["ours"], times["trl"], aim=3.0, note=note, detail=detail)]
    return [*out, faster("verdicts", what, "math_verify, called alone", times["ours"], times["plain"], note=note, detail=detail)]


def child(body: str) -> tuple[float | None, str]:
    """Seconds and verdicts of TRL's reward in a process of its own; None when it had to be killed."""
    code = f"from benchmarks.verdicts import trl; trl([('1+1', '2')]); print('ready', flush=True); print(trl({body}))"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        began = time.perf_counter()
        process.wait(PATIENCE)
        took = time.perf_counter() - began
        return took, process.stdout.read().decode().strip()
    except subprocess.TimeoutExpired:
        return None, f"killed after {PATIENCE:g} s"
    finally:
        process.kill()
        process.wait()


def hostile() -> Figure:
    """Two bombs among five answers: how long until all have a verdict."""
    pairs = [("2", "1+1"), ("5", BOMBS[0]), ("4", "3+1"), ("3", BOMBS[1]), ("6", "2+4")]
    judged = rows(pairs)
    said: list[float | None] = []
    mine = seconds(lambda: said.extend(ours(judged)))
    theirs, verdicts = child(repr(pairs))
    note = f"ours says 'timeout' for the two after 5 s each and starts a new worker; TRL: {verdicts}"
    what, detail = "5 answers, 2 of them hostile", {"ours": said, "trl": verdicts}
    return Figure("verdicts", what, "trl.rewards.accuracy_reward", None, ours=mine, peer=theirs, note=note, detail=detail)


def figures(quick: bool) -> list[Figure]:
    """Groups of repeated answers, all-distinct pairs, hostile ones."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(cores)})  # the worker process too: everything on one core
    try:
        repeats, tasks = (2, 4) if quick else (6, 32)
        groups = [grouped(seed, tasks, 8) for seed in range(repeats)]
        different = [distinct(1000 + seed, 8 * tasks) for seed in range(repeats)]
        once = sum(len(set(pairs)) for pairs in groups) / sum(map(len, groups))
        out = [
            *beside("groups of 8 answers", groups, f"answers repeat in a group: {once:.0%} of the pairs are distinct; each is judged once"),
            *beside("all pairs distinct", different, "no pair twice, none equal as text: what is left is reading and comparing"),
        ]
        if not quick:
            out.append(hostile())
    finally:
        os.sched_setaffinity(0, cores)
    return out
