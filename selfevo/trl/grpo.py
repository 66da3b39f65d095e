"""TRL's GRPOTrainer on a run's own tasks, verifier and evaluation: the community's baseline, like for like."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import UserError
from ..protocols import Number, Part, RunCtx
from ..records import Row, Sample, Version
from .fit import Data, Fit
from .judge import Asked, Judge


class Grpo(Fit):
    """GRPO with everything of it TRL's (Shao et al. 2024, arXiv:2402.03300): sampling, advantages, loss and optimizer steps.

    The rows name the tasks: the first row of each group, by the ids of its prompt as the stage before recorded them (`Unanswered`). TRL
    takes them in that order, `steps` optimizer steps of equally many tasks, `args.num_generations` replies each. The replies are judged
    by `verifier`, in one call per step. They are sampled within this stage, which alone of all train stages samples: they are no
    trajectories of a rollout, but are recorded as its samples, and their tokens count as the run's. Curricula do not hear of them.

    Args:
        verifier: as in a score stage; the reward is `score`.
        args: settings of GRPOConfig; see `Fit`. `per_device_train_batch_size` is the most replies through the model at once: TRL gets
            the largest number up to it that divides the replies of a step.
        steps: optimizer steps of one update, each with new replies (`args.num_iterations` takes several on the same).
        to: reference policy, for `args.beta` other than 0: "solver@base".
        micro_tokens: in place of `per_device_train_batch_size`, the most tokens through the model at once, padding included.
        objective: there for experiments written for the Learner, which may take terms out ({kl: null}); TRL's loss has no others, so
            a term given here is refused.
        lr, carry: see `Fit`.
    """

    kind = "grpo"

    def __init__(
        self,
        verifier: Mapping[str, Part],
        args: Mapping[str, Any] | None = None,
        steps: int = 1,
        to: str | None = None,
        lr: Number | None = None,
        micro_tokens: int | None = None,
        carry: bool = True,
        objective: Mapping[str, Any] | None = None,
    ):
        super().__init__(None, args, lr, carry)
        for name, count in (("steps", steps), ("micro_tokens", micro_tokens)):
            if count is not None and count < 1:
                raise UserError(f"{name} is {count}, expected at least 1")
        for name, term in (objective or {}).items():
            if term is not None:
                raise UserError(f"objective.{name}: the loss is TRL's; use args.loss_type, args.beta and their neighbours")
        if micro_tokens is not None and "per_device_train_batch_size" in self.args:
            raise UserError("args.per_device_train_batch_size: micro_tokens decides it; take one of them out")
        if self.args.get("beta", 0.0) and to is None:
            raise UserError("to: args.beta is not 0, which needs a reference policy such as solver@base")
        self.verifier, self.steps, self.to, self.micro_tokens = dict(verifier), steps, to, micro_tokens
        self.needs = frozenset({f"logp:{to}"} if to is not None and self.args.get("beta", 0.0) else ())
        self.sampled = 0
        """Tokens sampled in the last update: its cost."""
        self._judge: Judge | None = None

    def update(self, target: Any, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """Sample, judge and train; the new version, or None when there are no tasks."""
        if target.frozen:
            raise UserError(f"{ctx.path}: policy '{target.name}' is frozen and cannot be trained")
        self.fitted, self.sampled = (), 0
        asked = self._asked(rows, ctx)
        ctx.log("train/tasks", len(asked))
        if not asked:
            return None
        self._judge = Judge(self.verifier, asked, target, float(self.args.get("temperature", 1.0)), ctx)
        try:
            self._train(target, [{"prompt": str(i)} for i in range(len(asked))], ctx, **self._sizes(asked, target, ctx))
        finally:
            self.sampled = self._judge.tokens
        self.fitted = self._judge.samples()
        self._judge.log()
        ctx.log("train/samples", len(self.fitted))
        ctx.log("train/tokens", self.sampled)
        return self._finish(target, ctx)

    def _asked(self, rows: Sequence[Row], ctx: RunCtx) -> list[Asked]:
        found: dict[str, Asked] = {}
        for row in rows:
            t = row.trajectory
            if row.group in found or t.status == "error" or not row.score.keep:
                continue
            if t.task.turns:
                raise UserError(f"{ctx.path}: task {t.task.id} goes on with a conversation; trl/grpo answers prompts, use the Learner")
            context = next((turn.context for turn in t.turns if turn.context), None) or ctx.open(t.role, t.task)
            found[row.group] = Asked(t.task, t.role, tuple(context))
        return list(found.values())

    def _sizes(self, asked: Sequence[Asked], target: Any, ctx: RunCtx) -> dict[str, Any]:
        """Batch sizes for TRL, which wants whole groups in a step and equal device batches."""
        group = int(self.args.get("num_generations") or GROUP)
        if len(asked) % self.steps:
            raise UserError(f"{ctx.path}: {len(asked)} tasks do not make {self.steps} equal steps; set steps to a divisor of the tasks")
        longest, reply = max(len(a.context) for a in asked), int(self.args.get("max_completion_length") or REPLY)
        if longest + reply > target.codec.limit:
            raise UserError(f"{ctx.path}: a prompt of {longest} tokens and max_completion_length {reply} are beyond the policy's"
                            f" {target.codec.limit} tokens")  # fmt: skip
        replies = len(asked) // self.steps * group
        most = int(self.args.get("per_device_train_batch_size", BATCH))
        if self.micro_tokens is not None:
            most = max(1, self.micro_tokens // (longest + reply))
        size = next(n for n in range(min(most, replies), 0, -1) if replies % n == 0)
        return {
            "per_device_train_batch_size": size, "gradient_accumulation_steps": replies // size, "shuffle_dataset": False,
            "max_steps": self.steps * int(self.args.get("num_iterations", 1)),
        }  # fmt: skip

    def _data(self, samples: Sequence[Sample], ctx: RunCtx) -> Data:
        raise AssertionError("the data are tasks, not samples")

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        from .grpo_trainer import trainer
        from .running import reference

        assert self._judge is not None
        base = reference(target, ctx.policy(self.to)) if self.to is not None and config.beta else None
        return trainer(config, model, watch, data, target, self._judge, base)


GROUP, REPLY, BATCH = 8, 512, 8
"""TRL's defaults of num_generations, max_completion_length and per_device_train_batch_size."""
