"""A tiny random policy, a run context with real seeds, and samples given as they are."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from selfevo import seeds
from selfevo.codec import ByteCodec
from selfevo.learner import Learner
from selfevo.policies import LivePolicy
from selfevo.records import Sample, Version

VOCAB = 23


class Context:
    """What the learner asks of a run. `metrics` collects what was logged."""

    name, iteration, path = "", 0, "main.0/train"

    def __init__(self, policies: dict[str, Any] | None = None, seed: int = 7):
        self.policies, self.run_seed, self.metrics = policies or {}, seed, {}

    def seed(self, *key: object) -> int:
        return seeds.derive(self.run_seed, self.path, *key)

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


class Given:
    """A builder that yields the samples it was made with."""

    def __init__(self, samples: Sequence[Sample]):
        self.samples = list(samples)

    def build(self, rows: Any, ctx: Any) -> list[Sample]:
        return list(self.samples)


def tiny_model(seed: int = 0, dtype: Any = None, layers: int = 2) -> Any:
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen3Config(
            vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_hidden_layers=layers, num_attention_heads=4,
            num_key_value_heads=2, head_dim=8, max_position_embeddings=128, tie_word_embeddings=False, initializer_range=0.3,
        )  # fmt: skip
        return Qwen3ForCausalLM(config).to(dtype or torch.float32).eval()


def tiny_policy(seed: int = 0, **options: Any) -> LivePolicy:
    return LivePolicy("solver", tiny_model(seed, **options), None, ByteCodec(), Version("solver", "000000"))


def make_samples(n: int = 8, seed: int = 3, **columns: Callable[[random.Random, int], Any]) -> list[Sample]:
    """Ragged samples; each column is drawn by its function of (generator, length)."""
    r = random.Random(seed)
    out = []
    for i in range(n):
        context = tuple(r.randrange(VOCAB) for _ in range(r.randint(2, 9)))
        response = tuple(r.randrange(VOCAB) for _ in range(r.randint(1, 11)))
        drawn = {name.replace("__", ":"): draw(r, len(response)) for name, draw in columns.items()}
        out.append(Sample(f"s{i}", response, {"train": context}, drawn))
    return out


def gaussian(r: random.Random, length: int) -> float:
    return r.gauss(0, 1)


def coin_mask(r: random.Random, length: int) -> tuple[float, ...]:
    return (1.0, *(float(r.random() < 0.7) for _ in range(length - 1)))


def near(policy: LivePolicy, scale: float = 0.02, seed: int = 11) -> LivePolicy:
    """A policy whose weights differ a little."""
    import torch

    other = policy.clone_frozen()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in other.model.parameters():
            p.add_(torch.randn(p.shape, generator=generator).to(p.dtype) * scale)
    return other


def sampled(samples: Sequence[Sample], policy: LivePolicy) -> list[Sample]:
    """The samples with `logp:sampler` from one plain forward pass per row, at their temperature."""
    import torch

    out = []
    for s in samples:
        ids, start = torch.tensor([s.contexts["train"] + s.response]), len(s.contexts["train"])
        with torch.no_grad():
            logp = (policy.model(input_ids=ids).logits[0, start - 1 : -1] / s.columns.get("temperature", 1.0)).log_softmax(-1)
        column = logp.gather(1, ids[0, start:, None]).squeeze(1)
        out.append(s.with_columns(**{"logp:sampler": tuple(column.tolist())}))
    return out


class Bench:
    """The helpers above as one fixture, since test folders are not packages."""

    Context, Given, VOCAB = Context, Given, VOCAB
    model = staticmethod(tiny_model)
    policy = staticmethod(tiny_policy)
    samples = staticmethod(make_samples)
    gaussian = staticmethod(gaussian)
    coin_mask = staticmethod(coin_mask)
    near = staticmethod(near)
    sampled = staticmethod(sampled)

    @staticmethod
    def learner(samples: Sequence[Sample], objective: dict[str, Any], **settings: Any) -> Learner:
        return Learner({"given": Given(samples)}, objective, **settings)

    @staticmethod
    def gradient(samples: Sequence[Sample], objective: dict[str, Any], policy: Any = None, policies: Any = None, **settings: Any) -> Any:
        """Flat gradient that the learner's first step sees, before the clip: an SGD-like probe through AdamW's first moment.

        After one step from zero state, exp_avg = (1 - beta1) * gradient.
        """
        import torch

        policy = policy or tiny_policy(dtype=torch.float64)
        learner = Bench.learner(samples, objective, clip_norm=None, lr=0.0, betas=(0.0, 0.999), **settings)
        ctx = Context(policies)
        learner.update(policy, [], ctx)
        moments = learner.state_dict()["learned"]["weights"]["moments"]
        return torch.cat([moments[n]["exp_avg"].reshape(-1).double() for n in sorted(moments)])


@pytest.fixture(autouse=True, scope="session")
def in_double():
    """Float64 models are that throughout."""
    from double import exact_norms

    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


@pytest.fixture
def bench() -> type[Bench]:
    return Bench
