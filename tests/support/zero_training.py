"""One process of a training run on ranks: the learner on given samples. `python zero_training.py SETTINGS OUT`, under torchrun or alone.

SETTINGS is JSON: {"stage": 0..3, "offload": ..., "steps": n, "dtype": "float32" | "bfloat16", "start": file to load, "sizes": [...]}.
OUT gets the losses, the metrics, the weights, the learner's state and what this process holds of it.
"""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import torch
from learner_bench import Bench, Context, gaussian, make_samples, near, sampled, tiny_policy

from selfevo.objectives import KL, ClippedRatio
from selfevo.ranks import Ranks, Zero


def train(settings: dict[str, Any], ranks: Ranks) -> dict[str, Any]:
    """Updates of one step each, from the settings' start."""
    policy = tiny_policy(dtype=getattr(torch, settings["dtype"]))
    reference = near(tiny_policy())
    samples = sampled(make_samples(9, adv=gaussian), reference)
    objective = {"pg": ClippedRatio("adv"), "kl": KL("solver@base", coef=0.1)}
    learner = Bench.learner(samples, objective, lr=1e-3, micro_tokens=30, weight_decay=0.1, clip_norm=0.05, **settings.get("learner", {}))
    learner.on(ranks)
    context = Context({"solver@base": reference})
    if settings.get("start"):
        kept = torch.load(settings["start"], weights_only=False)
        policy.model.load_state_dict(kept["weights"])
        policy.version = kept["version"]
        learner.load_state_dict(kept["state"])
    losses, norms = [], []
    for _ in range(settings["steps"]):
        learner.update(policy, [], context)
        losses.append(context.metrics["train/loss"])
        norms.append(context.metrics["train/grad_norm"])
    state = learner.state_dict()
    return {
        "losses": losses, "norms": norms, "metrics": dict(context.metrics), "state": copy.deepcopy(state), "version": policy.version,
        "weights": {n: p.detach().clone() for n, p in policy.model.state_dict().items()},
    }  # fmt: skip


def main() -> None:
    """Each rank writes OUT.<rank>."""
    settings = json.loads(sys.argv[1])
    ranks = Ranks(Zero(settings["stage"], settings.get("offload", "none")) if settings["stage"] else None)
    found = train(settings, ranks)
    torch.save(found, f"{sys.argv[2]}.{ranks.index}")
    ranks.leave()


if __name__ == "__main__":
    assert Path(sys.argv[0]).is_file()
    main()
