"""A small random policy with the bundled tokenizer, rows of ragged lengths with holes in their masks, and a run context."""

from __future__ import annotations

import random
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from selfevo import seeds
from selfevo.models import Pretrained
from selfevo.policies import LivePolicy
from selfevo.records import Row, Task, Trajectory, Turn, Version

VOCAB = 102


class Ctx:
    """What an optimizer asks of a run. `metrics` collects what was logged."""

    name, iteration, path = "", 0, "main.0"

    def __init__(self, policies: dict[str, Any] | None = None, seed: int = 7, opened: tuple[int, ...] = ()):
        self.policies, self.run_seed, self.opened, self.metrics = policies or {}, seed, opened, {}

    def seed(self, *key: object) -> int:
        return seeds.derive(self.run_seed, self.path, self.name, *key)

    def rng(self, *key: object) -> random.Random:
        return random.Random(self.seed(*key))

    def value(self, number: Any) -> float:
        return float(number)

    def log(self, name: str, value: float) -> None:
        self.metrics[name] = value

    def progress(self, done: int, total: int, what: str) -> None:
        assert 0 < done <= total

    def policy(self, ref: str) -> Any:
        return self.policies[ref]

    def open(self, role: str, task: Task, prompt: str | None = None, **variables: str) -> tuple[int, ...]:
        return self.opened


@pytest.fixture(scope="session")
def bundled() -> Any:
    """The bundled policy, for its tokenizer and codec."""
    return Pretrained("tiny", dtype="float32").load("solver")


def small(bundled: Any, seed: int = 0, double: bool = False, name: str = "solver") -> LivePolicy:
    """Two random layers."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=256, tie_word_embeddings=False, initializer_range=0.2,
            eos_token_id=2, pad_token_id=0, bos_token_id=None,
        )  # fmt: skip
        model = Qwen3ForCausalLM(config).to(torch.float64 if double else torch.float32).eval()
    return LivePolicy(name, model, bundled.tokenizer, bundled.codec, Version(name, "000000"))


def near(policy: LivePolicy, scale: float = 0.02) -> LivePolicy:
    """A frozen policy whose weights differ a little."""
    import torch

    other, generator = policy.clone_frozen(), torch.Generator().manual_seed(11)
    with torch.no_grad():
        for p in other.model.parameters():
            p.add_(torch.randn(p.shape, generator=generator).to(p.dtype) * scale)
    return other


def ragged(n: int, group: int = 1, seed: int = 3) -> list[Row]:
    """`n` rows in groups of `group` with rewards 1, 0, 1, 0, ... Replies of one group follow one context; every third row hears a tool
    in between, whose tokens are masked."""
    r = random.Random(seed)

    def ids(least: int, most: int) -> tuple[int, ...]:
        return tuple(r.randrange(3, VOCAB) for _ in range(r.randint(least, most)))

    out, context = [], ()
    for i in range(n):
        context = ids(2, 9) if i % group == 0 else context
        first = ids(1, 8)
        turns = [Turn("policy", "", first, None, context, "solver@000000", finish="stop")]
        if i % 3 == 2:
            heard = ids(1, 3)
            turns += [Turn("tool", "", heard), Turn("policy", "", ids(1, 5), None, context + first + heard, "solver@000000", finish="stop")]
        task, keys = Task({"question": str(i // group)}), {"group": str(i // group)}
        t = Trajectory(f"t{i}", task, "solver", "solver@000000", tuple(turns), f"e{i}", keys)
        out.append(Row.of(t).rewarded("score", float(i % 2 == 0)))
    return out


def tensors(policy: LivePolicy) -> dict[str, Any]:
    """Copies of the weights."""
    return {n: p.detach().clone() for n, p in policy.model.named_parameters()}


def log_likelihood(policy: LivePolicy, rows: list[Row]) -> float:
    """Sum over the policy turns of all rows, each read by one plain pass."""
    import torch

    total = 0.0
    for row in rows:
        for turn in row.trajectory.turns:
            if turn.source == "policy":
                with torch.no_grad():
                    logits = policy.model(input_ids=torch.tensor([turn.context + turn.tokens])).logits[0, len(turn.context) - 1 : -1]
                total += logits.log_softmax(-1).gather(1, torch.tensor(turn.tokens)[:, None]).sum().item()
    return total


@pytest.fixture
def bench(bundled: Any) -> Any:
    """The helpers above."""
    made = partial(small, bundled)
    return SimpleNamespace(Ctx=Ctx, small=made, near=near, ragged=ragged, tensors=tensors, log_likelihood=log_likelihood)


EXACT_STEP = {
    "per_device_train_batch_size": 64, "num_train_epochs": 1, "bf16": False, "gradient_checkpointing": False,
    "lr_scheduler_type": "constant", "optim": "sgd", "learning_rate": 1.0, "max_grad_norm": 0.0, "weight_decay": 0.0,
}  # fmt: skip
"""One step of plain gradient descent at rate 1: the weights move by the gradient."""


@pytest.fixture
def exact_step() -> dict[str, Any]:
    return dict(EXACT_STEP)
