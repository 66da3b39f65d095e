"""The Learner: one training loop for every objective over weights. Papers differ in its samples, advantages and terms."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from .errors import LOWER, TrainingError, UserError, nearest
from .protocols import Advantage, Builder, Number, RunCtx, Stateful, Term
from .records import Row, Sample, Version

if TYPE_CHECKING:
    from .learning.session import Session
    from .learning.weights import Weights
    from .ranks import Ranks


class Learner:
    """Makes the next version of a policy's weights from scored rows (`protocols.Optimizer`).

    rows -> samples -> advantage columns -> needs of the terms, once -> epochs of mini-batches -> micro-batches -> AdamW steps.

    Loss: sum over terms of coef x sum(unreduced loss) / denominator. Denominators are fixed over the whole mini-batch and all
    ranks before the first micro-batch, so no gradient depends on how rows fell into micro-batches (up to float rounding).
    Rows whose gradient every term declares zero are then skipped. Nothing to learn: returns None and no step is taken, since
    Adam moves weights on a zero gradient. A loss or gradient that is not finite raises TrainingError naming the samples, and weights,
    moments and stateful advantages are as they were before the update (with several steps an update keeps a copy in host memory).
    With several ranks every rank must be given the same rows; each computes its share.

    Args:
        samples: builders by name; their samples are joined in this order.
        objective: terms by name.
        advantage: columns by name, computed in this order, each seeing the ones before. An advantage may declare `needs` (as terms
            do: "logp:solver@base", "value"), which are then columns of that name.
        lr: learning rate of AdamW. schedule, warmup_steps, total_steps: over optimizer steps, see `learning.schedule.factor`.
        weight_decay, betas, adam_eps: of AdamW; decay applies to matrices only.
        clip_norm: the gradient is scaled down to this global 2-norm; None: never.
        epochs: passes over the samples in one update.
        steps: optimizer steps in one update, however many samples there are: as many passes as that takes, the last one cut off.
            None: `epochs` whole passes.
        mini_batch: rows per optimizer step (units stay whole); None: all of them.
        micro_tokens: tokens that go through the model at once: with padding, or where contexts are shared the distinct ones (see
            `learning.split.micro_batches`). Memory only, never the result.
        ema: decay of an average of the weights kept in `target.averages["ema"]`, moved after every step; None: no average.
        gradient_checkpointing: recompute activations in the backward pass.
        value_head: give the policy a critic `heads["value"]` (linear, from zero) and every sample the column `value` [T].
        shuffle: draw the order of rows for each epoch (seeded); matters only with `mini_batch`.
        skip_zero: leave out rows whose gradient is zero in every term.
        shares: the train stage of the same policy whose AdamW this learner steps (moments, step count, float32 masters, average and
            critic are that stage's); betas, adam_eps, weight_decay, ema and value_head must be equal there. None: its own.
    """

    needs_weights = True

    def __init__(
        self,
        samples: Mapping[str, Builder],
        objective: Mapping[str, Term],
        advantage: Mapping[str, Advantage] | None = None,
        lr: Number = 1e-6,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
        adam_eps: float = 1e-8,
        schedule: Literal["constant", "linear", "cosine"] = "constant",
        warmup_steps: int = 0,
        total_steps: int | None = None,
        clip_norm: Number | None = 1.0,
        epochs: int = 1,
        mini_batch: int | None = None,
        micro_tokens: int = 16384,
        ema: float | None = None,
        gradient_checkpointing: bool = False,
        value_head: bool = False,
        shuffle: bool = True,
        skip_zero: bool = True,
        steps: int | None = None,
        shares: str | None = None,
    ):
        if not samples or not objective:
            raise UserError("Learner: samples and objective each need at least one entry")
        if schedule not in ("constant", "linear", "cosine"):
            raise UserError(f"Learner: schedule is '{schedule}'{nearest(schedule, ('constant', 'linear', 'cosine'))}")
        if schedule != "constant" and total_steps is None:
            raise UserError(f"Learner: schedule: {schedule} falls to 0 at total_steps, which must be given")
        counts = {"epochs": epochs, "micro_tokens": micro_tokens, "mini_batch": mini_batch, "total_steps": total_steps, "steps": steps}
        for name, count in counts.items():
            if count is not None and count < 1:
                raise UserError(f"Learner: {name} is {count}, expected at least 1")
        if isinstance(lr, (int, float)) and not 0 <= lr < float("inf"):
            raise UserError(f"Learner: lr is {lr}, expected a finite number of at least 0")
        if ema is not None and not 0 <= ema <= 1:
            raise UserError(f"Learner: ema is {ema}, expected a decay between 0 and 1")
        self.samples, self.objective, self.advantage = dict(samples), dict(objective), dict(advantage or {})
        self.lr, self.weight_decay, self.betas, self.adam_eps = lr, weight_decay, (betas[0], betas[1]), adam_eps
        self.schedule, self.warmup_steps, self.total_steps, self.clip_norm = schedule, warmup_steps, total_steps, clip_norm
        self.epochs, self.mini_batch, self.micro_tokens, self.ema = epochs, mini_batch, micro_tokens, ema
        self.gradient_checkpointing, self.value_head = gradient_checkpointing, value_head
        self.shuffle, self.skip_zero, self.steps = shuffle, skip_zero, steps
        self.shares = shares
        self._host: Learner | None = None
        self._bound: Any = None
        self._weights: Weights | None = None
        self._state: dict[str, Any] | None = None
        self._ranks: Ranks | None = None
        self.fitted: Sequence[Sample] = ()
        """Samples of the last update, advantage columns included: what a run records of it."""
        self._check_needs()

    def _check_needs(self) -> None:
        from .learning.needs import parse

        for name, term in self.objective.items():
            kinds = {parse(need, f"objective.{name}").kind for need in term.needs}
            if "value" in kinds and not self.value_head:
                raise UserError(f"objective.{name}: {type(term).__name__} needs a critic: set value_head: true on the learner")

    # -- the update ----------------------------------------------------------------------------------------------------------

    def update(self, target: Any, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """Train `target` (a `policies.LivePolicy`) in place on scored rows; its new version, or None when nothing was learned."""
        from .learning.modes import seeded, training
        from .learning.session import Session, fingerprint

        if target.frozen:
            raise UserError(f"{ctx.path}: policy '{target.name}' is frozen and cannot be trained")
        weights, ranks = self.attach(target), self._on_ranks()
        before = {name: copy.deepcopy(a.state_dict()) for name, a in self.advantage.items() if isinstance(a, Stateful)}
        session = Session(target, self.objective, ctx, ranks, self.micro_tokens)
        self.fitted = ()
        kept: Any = None
        try:
            with seeded(ctx.seed("torch"), session.device):
                self._build(session, rows, ctx)
                if ranks.count > 1:
                    ranks.same(fingerprint(session.samples), "the samples to train on")
                if not any(session.active):
                    return None
                plan = self._plan(session, ctx)
                if len(plan) > 1:  # a single step is refused before it is applied, so it needs no copy
                    kept = (weights.snapshot(), copy.deepcopy(target.averages.get("ema")))
                session.prepare(len(plan))
                with training(weights.module, self.gradient_checkpointing):
                    for number, indices in enumerate(plan):
                        self._step(session, weights, indices, ctx, first=number == 0)
        except BaseException as error:
            if kept is not None:
                weights.rollback(kept[0])
                if kept[1] is not None:
                    target.averages["ema"].load_state_dict(kept[1].state_dict())
            weights.clear()
            if isinstance(error, TrainingError):  # what every rank found, so all of them are here
                weights.hand_over()
            for name, state in before.items():
                self.advantage[name].load_state_dict(state)  # type: ignore[attr-defined]
            raise
        return self._finish(session, target, ctx)

    def _build(self, session: Session, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Samples with their advantage columns, and which of them take part."""
        from .learning.modes import Named

        session.samples = [s for builder in self.samples.values() for s in builder.build(rows, ctx) if s.response]
        needs = {n for a in self.advantage.values() for n in getattr(a, "needs", ())} | ({"value"} if self.value_head else set())
        if "value" in needs and not self.value_head:
            raise UserError("advantage: one of the columns needs values: set value_head: true on the learner")
        ctx.log("train/samples", len(session.samples))
        if not session.samples:
            return
        session.columns(needs)
        for name, advantage in self.advantage.items():
            columns = advantage(session.samples, rows, Named(ctx, name))
            if len(columns) != len(session.samples):
                raise UserError(f"advantage.{name}: {len(columns)} entries for {len(session.samples)} samples")
            session.samples = [s.with_columns(**{name: c}) for s, c in zip(session.samples, columns, strict=True)]
        session.choose(self.skip_zero)
        ctx.log("train/skipped", session.active.count(False))

    def _plan(self, session: Session, ctx: RunCtx) -> list[list[int]]:
        """Sample indices of each optimizer step that has something to learn, over all epochs."""
        from .learning.split import mini_batches

        batches: list[list[int]] = []
        epoch = 0
        while epoch < self.epochs if self.steps is None else len(batches) < self.steps:
            parts = mini_batches(session.samples, self.mini_batch, ctx.rng("shuffle", epoch) if self.shuffle else None)
            batches += [b for b in parts if any(session.active[i] for i in b)]
            epoch += 1
        return batches[: self.steps]

    def _step(self, session: Session, weights: Weights, indices: list[int], ctx: RunCtx, first: bool) -> None:
        """One optimizer step."""
        from .learning.schedule import factor
        from .learning.session import listed
        from .learning.weights import update_average

        weights.clear()
        frames = session.frames(indices)
        session.accumulate(indices, frames, weights, first)
        norm = weights.norm()
        if not norm < float("inf"):
            names = listed([session.samples[i].id for i in indices])
            where = f"{ctx.path}: the gradient is not finite on the mini-batch of samples {names}"
            raise TrainingError(f"{where}; the weights are unchanged; {LOWER}")
        limit = None if self.clip_norm is None else ctx.value(self.clip_norm)
        lr = ctx.value(self.lr) * factor(self.schedule, weights.steps, self.warmup_steps, self.total_steps)
        if not 0 <= lr < float("inf"):
            raise TrainingError(f"{ctx.path}: lr is {lr}, expected a finite number of at least 0; the weights are unchanged")
        weights.step(lr, norm, limit)
        if self.ema is not None:
            update_average(session.target.averages["ema"], weights, self.ema)
        for frame in frames:
            session.count(f"train/{frame.name}")
            for name, value in frame.stats.items():
                if value.ndim == 0:
                    session.count(f"train/{frame.name}/{name}", float(value))
        session.count("train/grad_norm", norm)
        session.count("train/lr", lr)
        session.count("train/clipped", float(limit is not None and norm > limit))

    def _finish(self, session: Session, target: Any, ctx: RunCtx) -> Version:
        """Log, and name the version."""
        assert self._weights is not None
        self.fitted = session.samples
        session.meter.report(self._on_ranks(), ctx.log)
        ctx.log("train/steps", self._weights.steps)
        ctx.log("train/tokens", sum(len(s.response) for s, on in zip(session.samples, session.active, strict=True) if on))
        old = target.version
        target.version = Version(target.name, f"{int(old.id) + 1:06d}", parents=(old.id,), made_by=ctx.path)
        return target.version

    # -- binding and state ---------------------------------------------------------------------------------------------------

    def join(self, host: Learner) -> None:
        """Step the AdamW of `host` from now on. Raises UserError where the two differ in what belongs to it."""
        if host.shares is not None:
            raise UserError(f"the stage it shares with shares one itself: name '{host.shares}'")
        for setting in ("betas", "adam_eps", "weight_decay", "ema", "value_head"):
            mine, theirs = getattr(self, setting), getattr(host, setting)
            if mine != theirs:
                raise UserError(f"{setting} is {mine} here and {theirs} in the stage whose AdamW it shares; give both the same")
        self._host = host

    def attach(self, target: Any) -> Weights:
        """Tie optimizer, critic and average to a policy. Called by `update`; a run calls it after loading state to have
        `target.averages` and `target.heads` at once. The same policy reloaded into new tensors keeps its moments by name."""
        from .learning.weights import fresh_average

        if self._host is not None:
            self._weights = self._host.attach(target)
            return self._weights
        if self._weights is not None and self._bound is target.model:
            self._weights.renew()
            return self._weights
        if self._weights is not None:
            self._state = self._learned_state()
        state = self._state if self._state is None or self._state["policy"] == target.name else None
        self._give_head(target, state)
        self._weights = self._made(target)
        self._bound, self._target, self._state = target.model, target, None
        if self.ema is not None and "ema" not in target.averages:
            target.averages["ema"] = fresh_average(target)
        if state is not None:
            self._weights.load_state_dict(state["weights"])
            self._weights.renew()
            if state["ema"] is not None and self.ema is not None:
                target.averages["ema"].load_state_dict(state["ema"])
        return self._weights

    def _give_head(self, target: Any, state: Mapping[str, Any] | None) -> None:
        if not self.value_head:
            return
        import torch

        if "value" not in target.heads:
            head = target.model.get_output_embeddings()
            width = head.weight.shape[1]
            value = torch.nn.Linear(width, 1).to(head.weight.device)
            torch.nn.init.zeros_(value.weight)
            torch.nn.init.zeros_(value.bias)
            target.heads["value"] = value
        if state is not None and state["value_head"] is not None:
            target.heads["value"].load_state_dict(state["value_head"])

    def _made(self, target: Any) -> Any:
        """The trainable tensors as the launcher says: whole on every rank, or shared by DeepSpeed."""
        from .learning.weights import Weights

        ranks = self._on_ranks()
        if ranks.zero is None:
            return Weights(target, self.betas, self.adam_eps, self.weight_decay)
        from .learning.zero import ZeroWeights

        return ZeroWeights(target, self.betas, self.adam_eps, self.weight_decay, ranks)

    def on(self, ranks: Ranks) -> None:
        """Train on these processes; called once, before the first `attach`. Without it: those that the environment names."""
        self._ranks = ranks

    def _on_ranks(self) -> Ranks:
        if self._ranks is None:
            from .ranks import Ranks

            self._ranks = Ranks()
        return self._ranks

    def _learned_state(self) -> dict[str, Any]:
        assert self._weights is not None

        def copied(module: Any) -> dict[str, Any] | None:
            return None if module is None else {k: v.detach().to("cpu", copy=True) for k, v in module.state_dict().items()}

        return {
            "policy": self._target.name,
            "weights": self._weights.state_dict(),
            "ema": copied(self._target.averages.get("ema")) if self.ema is not None else None,
            "value_head": copied(self._target.heads.get("value")) if self.value_head else None,
        }

    def state_dict(self) -> dict[str, Any]:
        """AdamW moments by parameter name, step count, float32 masters, average, critic, and the state of stateful advantages."""
        learned = self._learned_state() if self._weights is not None and self._host is None else self._state
        advantages = {name: a.state_dict() for name, a in self.advantage.items() if isinstance(a, Stateful)}
        return {"learned": learned, "advantage": copy.deepcopy(advantages)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; the next update continues bit for bit. Raises ValueError for a state that does not fit."""
        mine = sorted(name for name, a in self.advantage.items() if isinstance(a, Stateful))
        if sorted(state["advantage"]) != mine:
            raise ValueError(f"learner state has stateful advantages {sorted(state['advantage'])}, the spec has {mine}")
        for name in mine:
            self.advantage[name].load_state_dict(copy.deepcopy(state["advantage"][name]))  # type: ignore[attr-defined]
        self._state, self._weights, self._bound = state["learned"], None, None
