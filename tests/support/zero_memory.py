"""What a rank holds of a policy in training: `python zero_memory.py OUT STAGE...`, under torchrun.

OUT.<stage>.<rank> gets bytes of live tensors between two micro-batches of a step (weights, gradients, optimizer state, no activations) and
after the step.
The policy is larger than in other tests, so that what does not grow with it does not count.
"""

from __future__ import annotations

import gc
import json
import sys
from pathlib import Path
from typing import Any

import torch
from learner_bench import Bench, Context, gaussian, make_samples, near, sampled
from transformers import Qwen3Config, Qwen3ForCausalLM

from selfevo.codec import ByteCodec
from selfevo.objectives import ClippedRatio
from selfevo.policies import LivePolicy
from selfevo.ranks import Ranks, Zero
from selfevo.records import Version


def held() -> int:
    """Bytes of all live tensors of this process, shared storage once."""
    storages = {}
    for thing in gc.get_objects():
        if issubclass(type(thing), torch.Tensor):
            for tensor in (thing, thing.grad if thing.is_leaf else None):  # a gradient that Python never saw is no object of its own
                if tensor is not None and tensor.device.type == "cpu":
                    storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
    return sum(storages.values())


def measured(stage: int) -> dict[str, Any]:
    """Of one update under a stage."""
    gc.collect()
    before = held()
    config = Qwen3Config(
        vocab_size=Bench.VOCAB, hidden_size=256, intermediate_size=768, num_hidden_layers=6, num_attention_heads=4, num_key_value_heads=2,
        head_dim=64, max_position_embeddings=128, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(0)
    policy = LivePolicy("solver", Qwen3ForCausalLM(config), None, ByteCodec(), Version("solver", "000000"))
    samples = sampled(make_samples(4, adv=gaussian), near(policy))
    gc.collect()
    learner = Bench.learner(samples, {"pg": ClippedRatio("adv")}, lr=1e-3, micro_tokens=1)
    learner.on(Ranks(Zero(stage) if stage else None))  # type: ignore[arg-type]
    found: dict[str, Any] = {"parameters": sum(p.numel() for p in policy.model.parameters())}
    weights = learner.attach(policy)
    backward = weights.backward

    def watched(loss: torch.Tensor, last: bool) -> None:
        backward(loss, last)
        if not last:
            found["between"] = held() - before

    weights.backward = watched
    for _ in range(2):
        learner.update(policy, [], Context())
    gc.collect()
    found["after"] = held() - before
    return found


def main() -> None:
    """Every stage in this process, one after the other."""
    for stage in map(int, sys.argv[2:]):
        found = measured(stage)
        Path(f"{sys.argv[1]}.{stage}.{Ranks().index}").write_text(json.dumps(found))


if __name__ == "__main__":
    main()
