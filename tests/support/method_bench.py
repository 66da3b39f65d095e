"""For tests of methods' losses: a batch of plain float64 numbers, scored rows with the samples made of them, and a learner's gradient."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from learner_bench import Bench, Context, make_samples, sampled, tiny_policy

from selfevo.learner import Learner
from selfevo.records import Row, Sample, Task, Trajectory, Turn


class Plain:
    """`protocols.Batch` in float64. `theta` [B, T] is the leaf behind `logp`; `columns` hold a number per row or [B, T]; needs by name."""

    def __init__(self, logp: Any, mask: Any = None, columns: Mapping[str, Any] | None = None, **needs: Any):
        self.theta = torch.as_tensor(logp, dtype=torch.float64).clone().requires_grad_()
        self.logp: Any = self.theta
        self.mask = torch.ones_like(self.theta).detach() if mask is None else torch.as_tensor(mask, dtype=torch.float64)
        self.size = len(self.theta)
        self.columns = {k: torch.as_tensor(v, dtype=torch.float64) for k, v in (columns or {}).items()}
        self.needs = {k.replace("_", ":"): torch.as_tensor(v, dtype=torch.float64) for k, v in needs.items()}

    def row(self, name: str) -> Any:
        assert self.columns[name].ndim == 1
        return self.columns[name]

    def column(self, name: str) -> Any:
        found = self.columns[name]
        return found if found.ndim == 2 else found.unsqueeze(1).expand_as(self.theta)

    def need(self, name: str) -> Any:
        return self.logp.detach() if name in ("logp:live", "logp:old") and name not in self.needs else self.needs[name]

    def value(self, number: Any) -> float:
        return float(number)


def summed(term: Any, batch: Plain) -> Any:
    """A term's loss summed over what counts, for its own statistics."""
    loss = term.loss(batch, {k: v.detach() for k, v in term.stats(batch).items()})
    return loss.sum() if loss.ndim == 1 else torch.where(batch.mask != 0, loss, 0.0).mul(batch.mask).sum()


def slope(term: Any, batch: Plain) -> Any:
    """[B, T] gradient of that sum in the log-probs."""
    return torch.autograd.grad(summed(term, batch), batch.theta)[0]


class Named(Context):
    """A run context whose components have names and whose metrics have a past."""

    def __init__(self, policies: Mapping[str, Any] | None = None, past: Mapping[str, Sequence[float]] | None = None, seed: int = 7):
        super().__init__(dict(policies or {}), seed)
        self.name, self.past = "column", dict(past or {})

    def history(self, metric: str) -> list[float]:
        return list(self.past.get(metric, []))


def scored(groups: Mapping[str, Sequence[Any]], policy: Any = None, seed: int = 3) -> tuple[list[Sample], list[Row]]:
    """One sample of ragged random tokens for each reward (a number for "score", or a mapping of named ones), `logp:sampler` by `policy`."""
    flat = [(group, reward) for group, rewards in groups.items() for reward in rewards]
    samples = [replace(s, row=i) for i, s in enumerate(make_samples(len(flat), seed))]
    samples = samples if policy is None else sampled(samples, policy)
    rows = []
    for s, (group, reward) in zip(samples, flat, strict=True):
        turn = Turn("policy", "", s.response, s.columns.get("logp:sampler"), s.contexts["train"], "solver@000000", finish="stop")
        row = Row.of(Trajectory(s.id, Task({"q": group}), "solver", "solver@000000", (turn,), f"e{s.id}", keys={"group": group}))
        for name, value in reward.items() if isinstance(reward, Mapping) else [("score", reward)]:
            row = row.rewarded(name, value)
        rows.append(row)
    return samples, rows


def learner(
    samples: Sequence[Sample], objective: Mapping[str, Any], advantage: Mapping[str, Any] | None = None, **settings: Any
) -> Learner:
    """A learner of given samples."""
    return Learner({"given": Bench.Given(samples)}, objective, advantage, **settings)


def gradient(samples: Sequence[Sample], rows: Sequence[Row], objective: Mapping[str, Any], advantage: Mapping[str, Any] | None = None,
             policy: Any = None, ctx: Any = None, **settings: Any) -> Any:  # fmt: skip
    """Flat gradient of the learner's only step, in float64 before the clip; read off AdamW's first moment, as `Bench.gradient` does."""
    made = learner(samples, objective, advantage, clip_norm=None, lr=0.0, betas=(0.0, 0.999), **settings)
    made.update(policy or tiny_policy(dtype=torch.float64), rows, ctx or Named())
    moments = made.state_dict()["learned"]["weights"]["moments"]
    return torch.cat([moments[n]["exp_avg"].reshape(-1).double() for n in sorted(moments)])


def columns(advantage: Any, samples: Sequence[Sample], rows: Sequence[Row], ctx: Any = None) -> list[Any]:
    """What an advantage gives, on its own."""
    return list(advantage(samples, rows, ctx or Named()))
