"""What the weights say: needs computed once ahead, needs of a micro-batch with its gradient, needs of a whole mini-batch without."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ..decoder.weights import fits
from ..errors import UserError
from ..policies import evaluating
from ..records import Sample
from .forward import Outputs, run
from .needs import Need, parse
from .split import micro_batches

Resolve = Callable[[str], Any]
"""From a policy reference to its LivePolicy; "old" and "live" are the target itself."""


@contextmanager
def judging(model: Any) -> Iterator[None]:
    """No gradient and no dropout."""
    with evaluating(model), torch.no_grad():
        yield


def value_of(head: Any, outputs: Outputs) -> Tensor:
    """[B, T] the head's value of the state before each response token, 0 on padding."""
    weight = next(head.parameters())
    return outputs.targets.spread(head(outputs.hidden.to(weight.dtype)).squeeze(-1).float())


def compute_ahead(names: Iterable[str], samples: Sequence[Sample], indices: Sequence[int], resolve: Resolve, budget: int,
                  share: Callable[[list[list[int]]], list[list[int]]], join: Callable[[dict], dict]) -> dict[str, list[Any]]:  # fmt: skip
    """Each named need (log-probs, "value") for `samples[i]`, i in `indices`: name -> per sample a float32 array [T] or None.

    `share` gives the micro-batches this rank computes and `join` merges the ranks' results.
    """
    out: dict[str, list[Any]] = {}
    for name in sorted(names):
        need = Need("value", "old") if name == "value" else parse(name, "objective")
        policy = resolve(need.ref)
        found: dict[int, Any] = {}
        with judging(policy.model):
            for part in share(micro_batches(samples, indices, budget, need.context, fits(policy.model))):
                outputs = run(policy.model, [samples[i] for i in part], need.context)
                tensor = value_of(policy.heads["value"], outputs) if name == "value" else outputs.chosen()[0]
                rows = tensor.cpu().numpy()
                found.update({i: rows[at, : len(samples[i].response)] for at, i in enumerate(part)})
        found = join(found)
        out[name] = [found.get(i) for i in range(len(samples))]
    return out


class Live:
    """One micro-batch under the present weights. Everything is computed at most once, and only when asked for."""

    def __init__(self, samples: Sequence[Sample], target: Any, module: Any, resolve: Resolve):
        """`module`: what the pass calls, `target.model` or a wrapper that shares its weights among ranks."""
        self._samples, self._target, self._resolve = samples, target, resolve
        self.outputs = run(module, samples)
        self._logp, self.entropy = self.outputs.chosen()
        self._full: Tensor | None = None
        self._others: dict[str, Any] = {}

    def logp(self) -> Tensor:
        """[B, T] with gradient."""
        return self._logp

    def other(self, name: str) -> Any:
        """Needs of kind entropy, value, full, topk and logp:live."""
        if name not in self._others:
            self._others[name] = self._compute(parse(name, "objective"))
        return self._others[name]

    def _compute(self, need: Need) -> Any:
        if need.kind == "entropy":
            return self.outputs.entropy()
        if need.kind == "value":
            return value_of(self._target.heads["value"], self.outputs)
        teacher = self._teacher(need)
        if need.kind == "logp":
            return teacher.chosen()[0].to(self._logp.device)
        if self._full is None:
            self._full = self.outputs.full()
        ours, theirs = self._full, teacher.full().to(self._full.device)
        found = {"student": ours, "teacher": theirs} if need.kind == "full" else top(ours, theirs, need.k, need.side)
        return {name: self.outputs.targets.spread(values) for name, values in found.items()}

    def _teacher(self, need: Need) -> Outputs:
        policy = self._resolve(need.ref)
        with judging(policy.model):
            return run(policy.model, self._samples, need.context)


def top(student: Tensor, teacher: Tensor, k: int, side: str) -> dict[str, Tensor]:
    """The K likeliest tokens of one side, [N, K], with both sides' log-probs on them and the log of what mass is left."""
    source = teacher if side == "teacher" else student.detach()
    ids = source.topk(min(k, source.shape[-1]), dim=-1).indices
    theirs, ours = teacher.gather(-1, ids), student.gather(-1, ids)
    return {"ids": ids, "logp": theirs, "tail": log_rest(theirs), "student": ours, "student_tail": log_rest(ours)}


def log_rest(logp: Tensor) -> Tensor:
    """[N] log(1 - sum_k exp(logp)); at least log(1e-10), where rounding would leave nothing."""
    return torch.log((1 - logp.exp().sum(-1)).clamp(min=1e-10))


class Whole:
    """A whole mini-batch under the present weights, detached: computed only if a term's `stats` reads it."""

    def __init__(self, samples: Sequence[Sample], passes: Callable[[str], Mapping[int, Any]], pad: Callable[[Sequence[Any]], Tensor]):
        self._samples, self._passes, self._pad, self._kept = samples, passes, pad, {}  # type: ignore[var-annotated]

    def logp(self) -> Tensor:
        """[B, T]."""
        return self.other("logp")

    def other(self, name: str) -> Any:
        """Entropy and value; whole distributions of a mini-batch would not fit anywhere."""
        if name not in ("logp", "entropy", "value"):
            raise UserError(f"a term's stats asked for '{name}', which exists per micro-batch only (in loss)")
        if name not in self._kept:
            found = self._passes(name)
            self._kept[name] = self._pad([found[i] for i in range(len(self._samples))])
        return self._kept[name]
