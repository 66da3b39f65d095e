"""Trainings of the learner on given samples, one after the other, as one rank: `python zero_training.py FOLDER NAME...`.

FOLDER/NAME.json holds settings: {"stage": 0..3, "offload", "steps", "dtype", "start": a training whose end this one starts from,
"learner": more of its settings, "live": a term that reads the policy itself beside each micro-batch, "refused": after that
many updates one whose loss is infinite}. FOLDER/NAME.<rank> gets what the rank ended with.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from learner_bench import Bench, Context, gaussian, make_samples, near, sampled, tiny_policy

from selfevo.errors import TrainingError
from selfevo.objectives import KL, ClippedRatio
from selfevo.ranks import Ranks, Zero


def train(settings: dict[str, Any], start: dict[str, Any] | None, ranks: Ranks) -> dict[str, Any]:
    """Updates from a start."""
    policy = tiny_policy(dtype=getattr(torch, settings["dtype"]))
    reference = near(tiny_policy())
    samples = sampled(make_samples(9, adv=gaussian), reference)
    objective = {"pg": ClippedRatio("adv"), "kl": KL("solver@base", coef=0.1)}
    if settings.get("live"):
        objective["self"] = KL("live", estimator="full", coef=0.1)  # 0, and so is its gradient
    learner = Bench.learner(samples, objective, lr=1e-3, micro_tokens=30, weight_decay=0.1, clip_norm=0.05, **settings.get("learner", {}))
    learner.on(ranks)
    context = Context({"solver@base": reference})
    if start is not None:
        policy.model.load_state_dict(start["weights"])
        policy.version = start["version"]
        learner.load_state_dict(start["state"])
    losses, norms = [], []
    for number in range(settings["steps"]):
        if number == settings.get("refused"):
            refuse(learner, policy, context, samples)
        learner.update(policy, [], context)
        losses.append(context.metrics["train/loss"])
        norms.append(context.metrics["train/grad_norm"])
    weights = {n: p.detach().clone() for n, p in policy.model.state_dict().items()}
    return {"losses": losses, "norms": norms, "weights": weights, "state": learner.state_dict(), "version": policy.version}


def refuse(learner: Any, policy: Any, context: Context, samples: list[Any]) -> None:
    """An update whose loss is infinite changes nothing."""
    builders, before = learner.samples, {n: p.clone() for n, p in policy.model.state_dict().items()}
    learner.samples = {"broken": Bench.Given([s.with_columns(adv=float("inf")) for s in samples])}
    with pytest.raises(TrainingError, match="not finite"):
        learner.update(policy, [], context)
    assert all(torch.equal(p, before[n]) for n, p in policy.model.state_dict().items())
    learner.samples = builders


def main(folder: Path, names: list[str]) -> None:
    """All trainings of this process."""
    shared: dict[tuple[int, str], Ranks] = {}
    for name in names:
        settings = json.loads((folder / f"{name}.json").read_text())
        how = (settings["stage"], settings["offload"])
        ranks = shared.setdefault(how, Ranks(Zero(*how) if how[0] else None))  # type: ignore[arg-type]
        begun = settings["start"]
        start = None if begun is None else torch.load(folder / f"{begun}.0", weights_only=False)
        torch.save(train(settings, start, ranks), folder / f"{name}.{ranks.index}")
        gc.collect()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
