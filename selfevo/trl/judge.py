"""A verifier as the reward function of TRL's GRPOTrainer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..protocols import Part, RunCtx
from ..records import Cost, Row, Sample, Task, Trajectory, Turn
from ..verifiers.run import SCORE, summary, verify


@dataclass(frozen=True)
class Asked:
    """A task, the role that answers it, and the ids of its prompt."""

    task: Task
    role: str
    context: tuple[int, ...]


class At:
    """A run context for a part in one TRL step: its own name, and seeds of its own."""

    def __init__(self, ctx: RunCtx, name: str, step: int):
        self._ctx, self.name, self._step = ctx, name, step

    def __getattr__(self, attribute: str) -> Any:
        return getattr(self._ctx, attribute)

    def seed(self, *key: object) -> int:
        """Seed of this part, step and key."""
        return self._ctx.seed("trl", self._step, self.name, *key)

    def rng(self, *key: object) -> Any:
        """Generator of this part, step and key."""
        return self._ctx.rng("trl", self._step, self.name, *key)


class Judge:
    """Makes rows of what TRL sampled and has them verified; `rows` are all of them so far, in the order in which TRL gave them.

    Prompts come in as the index of what was `asked`, so no text stands for a prompt. A row without a reward (an error, a time-out), or
    one that a filter took out, gives None: TRL leaves it out of its group's mean and deviation, and its advantage is 0.
    """

    def __init__(self, verifier: Mapping[str, Part], asked: Sequence[Asked], target: Any, temperature: float, ctx: RunCtx):
        self.parts, self.asked, self.target, self.temperature, self.ctx = verifier, asked, target, temperature, ctx
        self.policy = target.version.ref
        self.rows: list[Row] = []
        self.steps = 0

    def verifier(self, prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], **_: Any) -> list[float | None]:
        """Rewards of replies to `prompts`, one to one. TRL names its metrics after this method."""
        counts: dict[int, int] = {}
        rows = []
        for prompt, ids in zip(map(int, prompts), completion_ids, strict=True):
            counts[prompt] = counts.get(prompt, -1) + 1
            rows.append(self._row(prompt, counts[prompt], tuple(ids)))
        scored = verify(self.parts, rows, lambda name: At(self.ctx, name, self.steps))
        self.steps += 1
        self.rows += scored
        return [row.reward(SCORE) if row.score.keep else None for row in scored]

    def _row(self, index: int, number: int, ids: tuple[int, ...]) -> Row:
        asked, codec = self.asked[index], self.target.codec
        finish: Any = "stop" if codec.ended(ids) else "length"
        turn = Turn("policy", codec.decode(ids), ids, None, asked.context, self.policy, self.temperature, finish)
        group = f"{self.ctx.path}/trl/{self.steps}/{index:05d}"
        return Row.of(
            Trajectory(
                f"{group}-{number:05d}.0", asked.task, asked.role, self.policy, (turn,), f"{group}-{number:05d}",
                {"group": group, "sample": str(number)}, status="finished" if finish == "stop" else "truncated",
                cost=Cost(prompt_tokens=len(asked.context), generated_tokens=len(ids), calls=1),
            )
        )  # fmt: skip

    def samples(self) -> list[Sample]:
        """What TRL trained on, with the column `reward` where there was one."""
        out = []
        for i, row in enumerate(self.rows):
            (turn,), reward = row.trajectory.turns, row.reward(SCORE)
            columns = {} if reward is None else {"reward": reward}
            out.append(Sample(row.trajectory.id, turn.tokens, {"train": turn.context}, columns, dict(row.trajectory.keys), row=i))
        return out

    @property
    def tokens(self) -> int:
        """Tokens sampled so far."""
        return sum(row.trajectory.length for row in self.rows)

    def log(self) -> None:
        """Metrics of everything sampled, under the names that rollout and score stages use."""
        n, trajectories = len(self.rows), [row.trajectory for row in self.rows]
        self.ctx.log("rollout/trajectories", n)
        self.ctx.log("rollout/length", self.tokens / max(n, 1))
        self.ctx.log("rollout/truncated", sum(t.status == "truncated" for t in trajectories) / max(n, 1))
        self.ctx.log("rollout/prompt_tokens", sum(t.cost.prompt_tokens for t in trajectories))
        self.ctx.log("rollout/generated_tokens", self.tokens)
        for name, value in summary(self.rows).items():
            self.ctx.log(name, value)
        rewards = [r for row in self.rows if (r := row.reward(SCORE)) is not None]
        if rewards:
            self.ctx.log("rollout/reward", sum(rewards) / len(rewards))
