"""One update in progress: samples with their columns, the terms that count, needs, and a single optimizer step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..decoder.weights import fits
from ..errors import LOWER, TrainingError, UserError
from ..passes import device_of
from ..protocols import RunCtx
from ..ranks import Ranks
from ..records import Sample, digest
from .batch import TermBatch, padded
from .forward import run
from .meter import Meter
from .models import Live, Whole, compute_ahead, judging, value_of
from .needs import parse
from .reduce import denominator, summed
from .split import micro_batches, units_of


class NoModel:
    """Where only columns may be read."""

    def logp(self) -> Tensor:
        """Never."""
        raise UserError("a term's silent() may read columns only, not what the weights say")

    def other(self, name: str) -> Any:
        """Never."""
        return self.logp()


@dataclass
class Frame:
    """A term with what is fixed for the whole mini-batch. `weight` = coefficient / denominator."""

    name: str
    term: Any
    stats: Mapping[str, Tensor]
    weight: float


class Session:
    """The working state of one call of `Learner.update`; the learner owns the order in which its methods run."""

    def __init__(self, target: Any, terms: Mapping[str, Any], ctx: RunCtx, ranks: Ranks, budget: int):
        self.target, self.ctx, self.ranks, self.budget = target, ctx, ranks, budget
        self.device = device_of(target.model)
        self.meter = Meter(self.device)
        self.coefs = {name: ctx.value(term.coef) for name, term in terms.items()}
        # A term with coefficient 0 is as good as absent: none of its needs is computed, no other policy loaded.
        self.terms = {name: term for name, term in terms.items() if self.coefs[name] != 0}
        self.samples: list[Sample] = []
        self.ahead: dict[str, list[Any]] = {}
        self.active: list[bool] = []

    def resolve(self, ref: str) -> Any:
        """The LivePolicy behind a reference."""
        return self.target if ref in ("old", "live") else self.ctx.policy(ref)

    def compute(self, names: set[str], indices: Sequence[int]) -> None:
        """Needs of these samples before the first step. Names that are known are not computed again."""
        new = {n for n in names if n not in self.ahead}
        with self.ranks.autocast():
            self.ahead |= compute_ahead(new, self.samples, indices, self.resolve, self.budget, self.ranks.share, self.ranks.join)

    def columns(self, names: set[str]) -> None:
        """The same as columns of the samples, for advantages."""
        self.compute(names, range(len(self.samples)))
        for i, s in enumerate(self.samples):
            self.samples[i] = s.with_columns(**{n: tuple(self.ahead[n][i].tolist()) for n in names})
        self.ahead.pop("value", None)  # as a need it is the present value, with gradient; as a column the one before the update

    def choose(self, skip: bool) -> None:
        """Fill `active`: False for rows whose gradient is zero in every term. Units stay whole."""
        n = len(self.samples)
        batch = TermBatch(self.samples, {}, NoModel(), self.device, self.ctx.value)
        loud = torch.zeros(n, dtype=torch.bool, device=self.device)
        for term in self.terms.values():
            view = batch.narrow(_where(term))
            silent = term.silent(view) if hasattr(term, "silent") else None
            heard = torch.ones(view.size, dtype=torch.bool, device=self.device) if silent is None else ~silent
            if term.level == "token":
                heard &= (view.mask != 0).any(1)
            rows = torch.arange(n, device=self.device) if view.rows is None else view.rows
            loud[rows[heard]] = True
        self.active = loud.tolist() if skip or not bool(loud.any()) else [True] * n
        for unit in units_of(self.samples, range(n)):
            if any(self.active[i] for i in unit):
                for i in unit:
                    self.active[i] = True

    def prepare(self, steps: int) -> None:
        """Compute ahead what the terms need on the rows that take part.

        In an update of one step the weights at its start are the present ones, so "logp:old" needs no pass of its own.
        """
        needs = {n for name, term in self.terms.items() for n in term.needs if parse(n, f"objective.{name}").ahead}
        if steps == 1:
            needs.discard("logp:old")
        self.compute(needs, [i for i, on in enumerate(self.active) if on])

    def frames(self, indices: Sequence[int]) -> list[Frame]:
        """Statistics and denominators over one mini-batch, rows that will be skipped included."""
        samples = [self.samples[i] for i in indices]
        width = max(len(s.response) for s in samples)
        model = Whole(samples, lambda name: self._passes(name, indices), lambda arrays: padded(arrays, width, self.device))
        batch = TermBatch(samples, self.ahead, model, self.device, self.ctx.value).at(indices)
        out = []
        for name, term in self.terms.items():
            view = batch.narrow(_where(term))
            if view.size:
                with torch.no_grad():
                    stats = term.stats(view)
                out.append(Frame(name, term, stats, self.coefs[name] / denominator(name, term, view)))
        return out

    def _passes(self, name: str, indices: Sequence[int]) -> dict[int, Any]:
        found: dict[int, Any] = {}
        place = {i: at for at, i in enumerate(indices)}
        with judging(self.target.model), self.ranks.autocast():
            for part in self.ranks.share(self._parts(indices, self.target.model)):
                outputs = run(self.target.model, [self.samples[i] for i in part])
                if name == "value":
                    rows = value_of(self.target.heads["value"], outputs)
                else:
                    rows = outputs.chosen()[0 if name == "logp" else 1]
                found.update({place[i]: rows[at, : len(self.samples[i].response)].cpu().numpy() for at, i in enumerate(part)})
        return self.ranks.join(found)

    def _parts(self, indices: Sequence[int], model: Any) -> list[list[int]]:
        with self.ranks.autocast():
            shared = fits(model)
        return micro_batches(self.samples, indices, self.budget, shared=shared)

    def accumulate(self, indices: Sequence[int], frames: Sequence[Frame], weights: Any, first: bool) -> None:
        """Gradients of one mini-batch, summed over its micro-batches and the ranks. Raises TrainingError for a loss not finite."""
        parts = self._parts([i for i in indices if self.active[i]], weights.module)
        rounds = self.ranks.rounds(parts) if weights.lockstep else [(p, True) for p in self.ranks.share(parts)]
        losses: list[Tensor] = []
        if not any(parse(need, f"objective.{name}").beside for name, term in self.terms.items() for need in term.needs):
            weights.release()
        for number, (part, real) in enumerate(rounds, 1):
            with self.ranks.autocast():
                live = Live([self.samples[i] for i in part], self.target, weights.module, self.resolve)
            loss = live.logp().sum() * 0.0 if weights.lockstep else torch.zeros((), device=self.device)
            if real:
                loss = loss + self._micro(part, live, frames, first)
                losses.append(loss.detach())
            del live  # what its graph needs stays with the loss
            weights.backward(loss, last=number == len(rounds))
            self.ctx.progress(number, len(rounds), "micro-batches")
        self._refuse_infinite(self.ranks.share(parts), losses)
        total = torch.stack(losses).sum() if losses else torch.zeros((), device=self.device)
        self.meter.add("train/loss", total, 0.0)
        self.count("train/loss", 0.0)
        weights.reduce(self.ranks)

    def count(self, name: str, value: float = 0.0) -> None:
        """One step more for a mean over steps. Ranks hold parts of one sum, so only one of them counts."""
        main = float(self.ranks.main)
        self.meter.add(name, value * main, main)

    def _micro(self, part: Sequence[int], live: Live, frames: Sequence[Frame], first: bool) -> Tensor:
        samples = [self.samples[i] for i in part]
        batch = TermBatch(samples, self.ahead, live, self.device, self.ctx.value).at(part)
        loss = torch.zeros((), device=self.device)
        for frame in frames:
            view = batch.narrow(_where(frame.term))
            if view.size:
                value = summed(frame.term, frame.term.loss(view, frame.stats), view.mask) * frame.weight
                loss = loss + value
                self._watch(frame, view, value)
        self._measure(samples, batch, live, first)
        return loss

    def _watch(self, frame: Frame, view: TermBatch, value: Tensor) -> None:
        self.meter.add(f"train/{frame.name}", value, 0.0)
        if hasattr(frame.term, "watch"):
            with torch.no_grad():
                for name, values in frame.term.watch(view).items():
                    self.meter.over(f"train/{frame.name}/{name}", values, view.mask)

    def _measure(self, samples: Sequence[Sample], batch: TermBatch, live: Live, first: bool) -> None:
        with torch.no_grad():
            self.meter.over("train/entropy", live.entropy, batch.mask)
            tokens = live.outputs.targets
            self.meter.add("train/passed", tokens.passed, tokens.used)
            if first and all("logp:sampler" in s.columns for s in samples):
                d = torch.where(batch.mask != 0, batch.logp - batch.need("logp:sampler"), 0.0)
                self.meter.over("train/sampler_gap", d.abs(), batch.mask)
                self.meter.over("train/sampler_kl", d.exp() - 1 - d, batch.mask)

    def _refuse_infinite(self, parts: Sequence[Sequence[int]], losses: Sequence[Tensor]) -> None:
        finite = torch.stack(list(losses)).isfinite().tolist() if losses else []
        bad = {i: self.samples[i].id for part, ok in zip(parts, finite, strict=True) if not ok for i in part}
        bad = self.ranks.join(bad)
        if bad:
            where = f"{self.ctx.path}: the loss is not finite on samples {listed(bad.values())}"
            raise TrainingError(f"{where}; the weights are unchanged; {LOWER}")


def fingerprint(samples: Sequence[Sample]) -> str:
    """A digest of what is trained on: equal on ranks that hold the same samples."""
    return digest([[s.id, list(s.response), {k: len(v) for k, v in s.contexts.items()}, repr(sorted(s.columns.items()))] for s in samples])


def listed(ids: Any, limit: int = 4) -> str:
    """The first few names, and how many more there are."""
    names = list(ids)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _where(term: Any) -> str | None:
    # `where`, `silent` and `watch` are extras of `objectives.term.BaseTerm`; the protocol does not ask for them.
    return getattr(term, "where", None)
