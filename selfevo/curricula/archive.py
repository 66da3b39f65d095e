"""An archive of programs as a bandit: which node is tried next, on which task, and which one is to have a child."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from ..errors import UserError
from ..protocols import RunCtx, TaskSource
from ..records import Lineage, Row, Task, Version
from ..seeds import rng as seeded
from ..spec.refs import MemoryRef
from .drawing import distinct, stream
from .saved import restored, saved


class Archive:
    """The versions of a memory are the nodes of a tree; each has a list of outcomes (1: solved) on tasks out of one fixed list, and N
    counts all of them. The two choices of the Huxley-Goedel Machine (2025, arXiv:2510.21614), with s and f a node's own solved and
    missed tasks and s^C, f^C the sums over its clade (the node and all its descendants):

        evaluate:  argmax of theta ~ Beta(tau (1 + s), tau (1 + f)) among nodes with unseen tasks; one unseen task of it
        expand:    while N^alpha >= nodes - 1 + pending: argmax of theta ~ Beta(tau (1 + s^C), tau (1 + f^C)) among nodes with s > 0

    Tasks come with the variable `node`, the version to be bound (`bind: {programs: ["{node}"]}`); to expand, with `failed` besides: the
    reply to a random task that the node missed (any of its tasks where it missed none). `sample(n)` gives fewer than n tasks where fewer
    are due, and none once the budget is spent. Two choices are two entries of the spec, both updated with the same judged rows.

    Args:
        memory: whose versions are the nodes. reward: that of their rows which is the outcome (at least 0.5: solved).
        pick: which choice `sample` makes.
        tasks: where the fixed list comes from. size: its length; what is held out for evaluation is left out.
        budget: most evaluations.
        alpha: widening exponent. initial: children of the root allowed at once, whatever N.
        clade: False expands by a node's own counts (what HGM is compared with).
        random_level: chance that the unseen task is drawn uniformly; else it is the next in order.
        cooldown: beta of tau = (B / (B - N))^beta with B the budget, 10000 at N = B; None: tau = 1.
        pseudo: a node with as many own outcomes enters clade sums as `pseudo` outcomes of its mean.
        seed: chooses another list.
    """

    def __init__(
        self,
        memory: MemoryRef,
        pick: Literal["evaluate", "expand"],
        tasks: TaskSource,
        size: int = 60,
        budget: int = 800,
        alpha: float = 0.6,
        initial: int = 0,
        clade: bool = True,
        random_level: float = 1.0,
        cooldown: float | None = None,
        pseudo: int = 10_000,
        reward: str = "score",
        seed: int = 0,
    ):
        if pick not in ("evaluate", "expand"):
            raise UserError(f"curricula.Archive: pick is '{pick}'; expected 'evaluate' or 'expand'")
        for name, count in (("size", size), ("budget", budget), ("pseudo", pseudo)):
            if count < 1:
                raise UserError(f"curricula.Archive: {name} must be at least 1, not {count}")
        self.memory, self.pick, self.tasks, self.size, self.budget, self.alpha = memory, pick, tasks, size, budget, alpha
        self.initial, self.clade, self.random_level, self.cooldown = initial, clade, random_level, cooldown
        self.pseudo, self.reward, self.seed = pseudo, reward, seed
        self._list: list[Task] = []
        self._outcomes: dict[str, list[tuple[str, int, str]]] = {}  # version to (task id, outcome, reply)

    @property
    def n(self) -> int:
        """Evaluations so far."""
        return sum(map(len, self._outcomes.values()))

    def own(self, version: str) -> tuple[int, int]:
        """(solved, missed) of a node."""
        outcomes = [ok for _, ok, _ in self._outcomes.get(version, [])]
        return sum(outcomes), len(outcomes) - sum(outcomes)

    def clades(self, versions: Sequence[Version]) -> dict[str, tuple[float, float]]:
        """(solved, missed) summed over every node's clade. Sums are made anew; no list of outcomes is touched or shared."""
        sums = {v.id: self._capped(v.id) for v in versions}
        for v in sorted(versions, key=lambda v: v.id, reverse=True):  # a child's id is above its parents'
            for parent in dict.fromkeys(v.parents):
                sums[parent] = (sums[parent][0] + sums[v.id][0], sums[parent][1] + sums[v.id][1])
        return sums

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """At most `n` tasks with their nodes."""
        if not self._list:
            draws, held_out = seeded("archive", self.seed), ctx.held_out
            self._list = [t for t in distinct(4 * self.size, lambda: self.tasks.draw(draws)) if t.id not in held_out][: self.size]
        versions, rng = ctx.versions(self.memory), stream(ctx)
        ctx.log("archive/nodes", len(versions))
        return self._evaluate(n, versions, rng) if self.pick == "evaluate" else self._expand(n, versions, rng)

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Append the rows' outcomes to the nodes they were made with; rows without the reward say nothing."""
        for row in rows:
            value = row.reward(self.reward)
            if value is not None:
                node = row.trajectory.memories[self.memory].rpartition("@")[2]
                outcome = (row.trajectory.task.id, int(value >= 0.5), row.trajectory.text[:2000])
                self._outcomes.setdefault(node, []).append(outcome)
        ctx.log("archive/evaluations", self.n)

    def _evaluate(self, n: int, versions: Sequence[Version], rng: random.Random) -> list[Task]:
        tried = {v.id: {task_id for task_id, _, _ in self._outcomes.get(v.id, [])} for v in versions}
        out: list[Task] = []
        while len(out) < min(n, self.budget - self.n):
            unseen = {v: [t for t in self._list if t.id not in seen] for v, seen in tried.items()}
            node = self._thompson({v: self.own(v) for v, left in unseen.items() if left}, rng)
            if node is None:
                break
            task = rng.choice(unseen[node]) if rng.random() < self.random_level else unseen[node][0]
            tried[node].add(task.id)
            out.append(replace(task, vars={**task.vars, "node": node}, id=task.id))
        return out

    def _expand(self, n: int, versions: Sequence[Version], rng: random.Random) -> list[Task]:
        counts = self.clades(versions) if self.clade else {v.id: self._capped(v.id) for v in versions}
        worthy = {v: c for v, c in counts.items() if self.own(v)[0] > 0}
        out: list[Task] = []
        while len(out) < n and self.n < self.budget and self._wide(len(versions), len(out)):
            node = self._thompson(worthy, rng)
            if node is None:
                break
            missed = [o for o in self._outcomes[node] if not o[1]] or self._outcomes[node]
            task_id, _, reply = rng.choice(missed)
            task = next(t for t in self._list if t.id == task_id)
            facts = {**task.vars, "node": node, "failed": reply}
            out.append(replace(task, vars=facts, lineage=Lineage("expand", node), id=""))
        return out

    def _wide(self, nodes: int, pending: int) -> bool:
        """Whether the tree may have another child: N^alpha >= nodes - 1 + pending, or the initial batch is not full."""
        return self.n**self.alpha >= nodes - 1 + pending or nodes - 1 + pending < self.initial

    def _thompson(self, counts: Mapping[str, tuple[float, float]], rng: random.Random) -> str | None:
        tau = 1.0
        if self.cooldown is not None:
            tau = 1e4 if self.n >= self.budget else min(1e4, (self.budget / (self.budget - self.n)) ** self.cooldown)
        drawn = {v: rng.betavariate(tau * (1 + s), tau * (1 + f)) for v, (s, f) in counts.items()}
        return max(drawn, key=lambda v: drawn[v], default=None)

    def _capped(self, version: str) -> tuple[float, float]:
        s, f = self.own(version)
        scale = self.pseudo / (s + f) if s + f >= self.pseudo else 1.0
        return s * scale, f * scale

    def state_dict(self) -> dict[str, Any]:
        """The task list and every outcome."""
        return {"list": [saved(t) for t in self._list], "outcomes": {v: [list(o) for o in found] for v, found in self._outcomes.items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"list", "outcomes"}:
            raise ValueError(f"not the state of an Archive: it has {sorted(state)}")
        self._list = [restored(t) for t in state["list"]]
        self._outcomes = {v: [(str(i), int(ok), str(said)) for i, ok, said in found] for v, found in state["outcomes"].items()}


def beta_quantile(a: int, b: int, q: float) -> float:
    """The q-quantile of Beta(a, b) for whole a and b, by bisection of P(X <= x) = P(Binomial(a + b - 1, x) >= a)."""
    n, low, high = a + b - 1, 0.0, 1.0
    choose = [math.comb(n, k) for k in range(a, n + 1)]
    for _ in range(50):
        x = (low + high) / 2
        below = math.fsum(c * x**k * (1 - x) ** (n - k) for c, k in zip(choose, range(a, n + 1), strict=True))
        low, high = (x, high) if below < q else (low, x)
    return (low + high) / 2
