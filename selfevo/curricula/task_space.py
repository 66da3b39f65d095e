"""TaskSpace: solutions met in training become the starting points of new tasks, to be improved (ExIt)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ..advantages.common import deviation
from ..errors import UserError
from ..protocols import Number, RunCtx, TaskSource
from ..records import Lineage, Row, Task, groups
from ..spec.refs import PromptName
from .drawing import distinct_in, log_outcomes, outcomes, stream
from .saved import restored, saved


@dataclass(slots=True)
class State:
    """A starting point: the task that asks to improve one solution, and its priority S."""

    task: Task
    priority: float


class TaskSpace:
    """Base tasks, and with probability `p_iter` a stored solution to be improved ("Bootstrapping Task Spaces for Self-Improvement", 2025,
    arXiv:2509.04575): a policy that only ever takes one step learns to revise many times.

    Every scored row leaves its solution in a buffer: the next task shows it as {response} with {feedback} (the score's, else `feedback`)
    under the prompt `improve`, or with probability `p_div` under `diverge`. Only the last attempt is shown. The learnability of a start is
    S = Var(rewards) of its group (for 0/1 rewards q (1 - q)). A child has its parent's S until it is itself replayed, which refreshes it.
    Starts are drawn in proportion to S, or to 1 / rank of S; S = 0 is never drawn while another has more (all zero: uniformly).
    Variables of such tasks: `root` (id of the base task) and `depth` (revisions so far), besides those of the base task.

    Args:
        tasks: base tasks.
        p_iter, p_div: see above. With p_iter 0 the tasks are those of `Uniform`, draw for draw.
        improve, diverge: names of prompts; `diverge` is needed where p_div is above 0.
        feedback: what is said where the score has no feedback.
        capacity: starts held; the lowest S leaves first, among equals the oldest. per_root: the same for each base task.
        least: starts that must be held before any is drawn. depth: deepest start that is stored.
        order: "value" or "rank". reward, correct: as in other curricula.
    """

    def __init__(
        self,
        tasks: TaskSource,
        p_iter: Number = 0.5,
        p_div: Number = 0.0,
        improve: PromptName = "revise",
        diverge: PromptName | None = None,
        feedback: str = "",
        capacity: int = 1000,
        per_root: int = 8,
        least: int = 1,
        depth: int | None = None,
        order: Literal["value", "rank"] = "value",
        reward: str = "score",
        correct: float = 0.5,
    ):
        for name, chance in (("p_iter", p_iter), ("p_div", p_div)):
            if isinstance(chance, (int, float)) and not 0 <= chance <= 1:
                raise UserError(f"TaskSpace: {name} is {chance}; expected a probability")
        if diverge is None and p_div != 0:
            raise UserError("TaskSpace: p_div needs `diverge`, the name of a prompt that asks for another approach")
        for name, count in (("capacity", capacity), ("per_root", per_root), ("least", least), ("depth", 1 if depth is None else depth)):
            if count < 1:
                raise UserError(f"TaskSpace: {name} is {count}; expected at least 1")
        if order not in ("value", "rank"):
            raise UserError(f"TaskSpace: order is '{order}'; expected 'value' or 'rank'")
        self.tasks, self.p_iter, self.p_div, self.improve, self.diverge, self.feedback = tasks, p_iter, p_div, improve, diverge, feedback
        self.capacity, self.per_root, self.least, self.depth, self.order = capacity, per_root, least, depth, order
        self.reward, self.correct = reward, correct
        self._states: dict[str, State] = {}  # by the trajectory that wrote the solution, the oldest first

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks. Logs the share of starts among them and their mean depth."""
        p_iter, p_div, coin, rng = ctx.value(self.p_iter), ctx.value(self.p_div), ctx.rng("space", ctx.name), stream(ctx)
        held, weights = list(self._states.values()), self._weights()

        def draw(again: bool) -> Task:
            if not again:
                return self.tasks.draw(rng)
            task = coin.choices(held, weights)[0].task
            return replace(task, prompt=self.diverge or "", id="") if coin.random() < p_div else task

        tasks = distinct_in([len(held) >= self.least and coin.random() < p_iter for _ in range(n)], draw)
        depths = [d for t in tasks if (d := t.vars.get("depth", 0))]
        ctx.log("curriculum/iterated", len(depths) / n)
        if depths:
            ctx.log("curriculum/depth", sum(depths) / len(depths))
        return tasks

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Measure S of every group's start and store what the group wrote."""
        log_outcomes(ctx, outcomes(rows, self.reward, self.correct))
        known = {(s.task.vars["root"], s.task.vars["response"], s.task.vars["feedback"]) for s in self._states.values()}
        for members in groups(r for r in rows if r.reward(self.reward) is not None).values():
            spread = deviation([float(r.score.rewards[self.reward]) for r in members], "population") ** 2
            start = members[0].trajectory.task
            if start.lineage.parent in self._states:
                self._states[start.lineage.parent].priority = spread
            for row in members:
                child = self._child(row)
                content = (child.vars["root"], child.vars["response"], child.vars["feedback"])
                if content not in known and (self.depth is None or child.vars["depth"] <= self.depth):
                    known.add(content)
                    self._states[row.trajectory.id] = State(child, spread)
        self._evict()
        ctx.log("curriculum/space", len(self._states))
        ctx.log("curriculum/learnable", sum(s.priority > 0 for s in self._states.values()) / max(1, len(self._states)))

    def _child(self, row: Row) -> Task:
        """The task of improving what a row wrote."""
        t = row.trajectory
        shown = {"response": t.text, "feedback": row.score.feedback or self.feedback}
        place = {"root": t.task.vars.get("root", t.task.id), "depth": int(t.task.vars.get("depth", 0)) + 1}
        variables = {**t.task.vars, **shown, **place}
        return replace(t.task, vars=variables, lineage=Lineage("improve", t.id), turns=(), id="", prompt=self.improve)

    def _evict(self) -> None:
        """The lowest priorities leave, the oldest among equals."""
        roots: dict[str, int] = {}
        kept: set[str] = set()
        for _, _, key in sorted(((s.priority, age, key) for age, (key, s) in enumerate(self._states.items())), reverse=True):
            root = self._states[key].task.vars["root"]
            if len(kept) < self.capacity and roots.get(root, 0) < self.per_root:
                roots[root] = roots.get(root, 0) + 1
                kept.add(key)
        self._states = {key: state for key, state in self._states.items() if key in kept}

    def _weights(self) -> list[float]:
        """Chance of each start, in the order held, not normalised."""
        values = [s.priority for s in self._states.values()]
        if not any(values):
            return [1.0] * len(values)
        if self.order == "value":
            return values
        places = {v: i + 1 for i, v in reversed(list(enumerate(sorted(values, reverse=True))))}  # equals share the best rank
        return [1 / places[v] if v > 0 else 0.0 for v in values]

    def state_dict(self) -> dict[str, Any]:
        """The starts held, the oldest first."""
        return {"starts": [{"key": key, "task": saved(s.task), "priority": s.priority} for key, s in self._states.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state of another shape."""
        if set(state) != {"starts"}:
            raise ValueError(f"not a state of TaskSpace: it has {sorted(state)}")
        self._states = {s["key"]: State(restored(s["task"]), float(s["priority"])) for s in state["starts"]}
