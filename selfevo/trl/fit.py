"""What all optimizers of TRL share: settings, samples, one whole run of a trainer per update, and the state between updates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import UserError
from ..protocols import Builder, Number, RunCtx
from ..records import Row, Sample, Version
from .settings import check, fields

if TYPE_CHECKING:
    from ..ranks import Ranks

Data = list[dict[str, Any]]
"""Rows of the data set a trainer is given."""

Whole = tuple[list[int], list[int]]
"""Ids of context and response, and 1 where a token is learned."""


class Fit:
    """Base of the optimizers that fit a policy with one of TRL's trainers (`protocols.Optimizer`).

    An update is a whole training run of the trainer, from its first step to the end of its learning rate schedule, over the samples
    of the rows it is given. The policy is trained in place; TRL sees modules of its own around the policy's tensors, so nothing it puts
    on a model (a patched forward pass, hooks, tags, settings) stays on the policy. It writes, reports and prints nothing; the lines it
    would log, one per step, are averaged into the stage's metrics. Its seed is the stage's. An error, or a loss that is not finite,
    leaves the weights as they were before the update. Runs in one process: raises UserError under a launcher of several.

    Args:
        samples: builders by name, as the Learner's; TRL is given exactly their ids. Samples must be read at temperature 1, with a mask
            of zeros and ones.
        args: settings of the trainer's config class, under TRL's names; see `settings.check`. What is not given has TRL's default, but
            for `max_length`, which is no limit.
        lr: learning rate (`args.learning_rate`), which may vary from update to update; None: TRL's default.
        carry: whether the optimizer's state (AdamW's moments) goes on from one update to the next. The learning rate schedule starts
            anew in each. False: every update is a fit of its own.
    """

    needs_weights = True
    one_process = True
    kind = ""
    """Which trainer: a key of `settings.CONFIGS`."""

    def __init__(self, samples: Mapping[str, Builder] | None, args: Mapping[str, Any] | None, lr: Number | None, carry: bool):
        if samples is not None and not samples:
            raise UserError("samples: needs at least one builder")
        self.args = check(self.kind, args or {})
        if "max_length" in fields(self.kind):
            self.args.setdefault("max_length", None)
        if lr is not None and "learning_rate" in self.args:
            raise UserError("args.learning_rate: is given as `lr` too; take one of them out")
        self.samples, self.lr, self.carry = dict(samples or {}), lr, carry
        self.fitted: Sequence[Sample] = ()
        """Samples of the last update: what a run records of it."""
        self._state: dict[str, Any] | None = None

    def on(self, ranks: Ranks) -> None:
        """Refuses a run of several processes: TRL's trainers would start process groups of their own inside it."""
        if ranks.count > 1 or ranks.zero is not None:
            raise UserError(f"optimizer trl/{self.kind}: trains in one process; use launcher=inline, or an optimizer of the Learner")

    def update(self, target: Any, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """Train `target` (a `policies.LivePolicy`) in place; its new version, or None when the rows gave no samples."""
        if target.frozen:
            raise UserError(f"{ctx.path}: policy '{target.name}' is frozen and cannot be trained")
        self.fitted = ()
        samples = [s for builder in self.samples.values() for s in builder.build(rows, ctx) if s.response]
        ctx.log("train/samples", len(samples))
        data = self._data(samples, ctx)
        if not data:
            return None
        self._train(target, data, ctx)
        self.fitted = samples
        ctx.log("train/tokens", sum(sum(mask_of(s)) for s in samples))
        return self._finish(target, ctx)

    def _train(self, target: Any, data: Data, ctx: RunCtx, **settings: Any) -> None:
        """One run of the trainer. `settings` are those that follow from the data."""
        from .running import train

        target.to_transformers()
        given: dict[str, Any] = {**self.args, **settings}
        if self.lr is not None:
            given["learning_rate"] = ctx.value(self.lr)
        state = self._state if self._state is not None and self._state["policy"] == target.name else None
        trained = train(
            self.kind, given, self._model(target, ctx), target, ctx.seed("trl") % 2**32, ctx.path,
            lambda config, model, watch: self._trainer(config, model, watch, data, target, ctx), state["moments"] if state else None,
        )  # fmt: skip
        steps = trained.steps + (state["steps"] if state else 0)
        self._state = {"policy": target.name, "steps": steps, "moments": trained.moments if self.carry else None}
        for name, value in trained.metrics.items():
            ctx.log(name, value)
        ctx.log("train/steps", steps)

    def _finish(self, target: Any, ctx: RunCtx) -> Version:
        old = target.version
        target.version = Version(target.name, f"{int(old.id) + 1:06d}", parents=(old.id,), made_by=ctx.path)
        return target.version

    # what a trainer adds

    def _data(self, samples: Sequence[Sample], ctx: RunCtx) -> Data:
        """The trainer's data set; empty when there is nothing to learn from."""
        raise NotImplementedError

    def _trainer(self, config: Any, model: Any, watch: Any, data: Data, target: Any, ctx: RunCtx) -> Any:
        """The trainer, ready to train. `watch` is a callback that it must be given."""
        raise NotImplementedError

    def _model(self, target: Any, ctx: RunCtx) -> Any:
        """The modules that are trained."""
        from .running import twin

        return twin(target.model)

    # helpers of theirs

    def _limit(self) -> int | None:
        return self.args.get("max_length")

    def _whole(self, sample: Sample) -> Whole:
        """A sample's ids and mask. Raises UserError where TRL could not see what the Learner would."""
        temperature = sample.columns.get("temperature", 1.0)
        if temperature != 1.0:
            raise UserError(f"optimizer trl/{self.kind}: sample {sample.id} is read at temperature {temperature}, but TRL reads at 1:"
                            " set temperature: 1.0 on its builder")  # fmt: skip
        mask = mask_of(sample)
        if any(m not in (0.0, 1.0) for m in mask):
            raise UserError(f"optimizer trl/{self.kind}: sample {sample.id} has a mask other than 0 and 1, which TRL cannot weigh")
        context = sample.contexts["train"]
        return [*context, *sample.response], [0] * len(context) + [int(m) for m in mask]

    # state

    def state_dict(self) -> dict[str, Any]:
        """{"fit": None before the first update, else the policy's name, steps so far, and moments by parameter name}."""
        return {"fit": self._state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; the next update continues bit for bit. Raises ValueError for a state that does not fit."""
        fit = state.get("fit", self)
        if fit is not None and (not isinstance(fit, Mapping) or set(fit) != {"policy", "steps", "moments"}):
            raise ValueError(f"this is no state of an optimizer trl/{self.kind}")
        self._state = None if fit is None else dict(fit)


def mask_of(sample: Sample) -> tuple[float, ...]:
    """The mask over the response's tokens."""
    mask = sample.columns.get("mask", 1.0)
    return mask if isinstance(mask, tuple) else (mask,) * len(sample.response)


def cut(rows: Sequence[Sequence[Whole]], limit: int | None, ctx: RunCtx) -> dict[int, list[Whole]]:
    """By index, rows of one or two sequences, each cut after `limit` tokens; a row one of whose sequences then has nothing to learn is
    left out. Logs "train/cut", the number of rows this happened to."""
    short = {i: [(ids[:limit], mask[:limit]) for ids, mask in row] for i, row in enumerate(rows)}
    ctx.log("train/cut", sum(limit is not None and any(len(ids) > limit for ids, _ in row) for row in rows))
    return {i: row for i, row in short.items() if all(any(mask) for _, mask in row)}


def pairs(samples: Sequence[Sample], kind: str) -> list[tuple[Sample, Sample]]:
    """(chosen, rejected) of every unit, in order of appearance. Raises UserError for samples that are no pairs."""
    units: dict[str, list[Sample]] = {}
    for s in samples:
        units.setdefault(s.unit or s.id, []).append(s)
    for name, unit in units.items():
        if sorted(s.place for s in unit) != [0, 1]:
            raise UserError(f"optimizer trl/{kind}: '{name}' is no pair but {len(unit)} samples: use selfevo.samples.Pairs")
    return [(a, b) if a.place == 0 else (b, a) for a, b in units.values()]
