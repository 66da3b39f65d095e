"""Dialogues over a real codec whose replies are written in the test."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field

import pytest

from selfevo import seeds
from selfevo.codec import ByteCodec
from selfevo.protocols import Completion, Sampling
from selfevo.records import Message, Task
from selfevo.rollouts import Talk

CODEC = ByteCodec(limit=400)


@dataclass
class Voice:
    """An engine for one role: says `replies` in turn (each a text, its end token added) and records what it was asked."""

    replies: list[str] = field(default_factory=lambda: ["one", "two", "three", "four"])
    ids: bool = True
    finish: str = "stop"
    asked: list[tuple] = field(default_factory=list)

    async def __call__(self, context, sampling, key) -> Completion:
        text = self.replies[len(self.asked) % len(self.replies)]
        self.asked.append((context, sampling, key))
        if not self.ids:
            return Completion((), None, text, self.finish)
        tokens = CODEC.fragment(text) + ((CODEC.END,) if self.finish == "stop" else ())
        return Completion(tokens, tuple(-0.1 * (k + 1) for k in range(len(tokens))), text, self.finish)


@dataclass
class Bench:
    """Opens dialogues as the run would, and is the seat of that name."""

    voice: Voice = field(default_factory=Voice)
    name: str = "solver"
    codec: ByteCodec = CODEC
    sampling: Sampling = field(default_factory=lambda: Sampling(max_tokens=8, temperature=0.7))
    heard: dict = field(default_factory=dict)

    def __post_init__(self):
        self.ids = (f"t{i}" for i in itertools.count())

    def open(self, task, prompt=None, **variables):
        self.heard = variables
        context = self.codec.open([Message("user", task.vars["question"])])
        return Talk(
            codec=self.codec, task=task, context=context, role=self.name, policy="solver@000001", sampling=self.sampling,
            generate=self.voice, new_id=lambda: next(self.ids), episode="e0", memories={"skills": "skills@000000"}, keys={"group": "g0"},
        )  # fmt: skip


class Ctx:
    name, path, iteration, episode = "rollout", "main.0/rollout", 0, "e0"

    def seed(self, *key):
        return seeds.derive(0, *key)


@pytest.fixture
def ctx():
    return Ctx()


@pytest.fixture
def codec():
    return CODEC


@pytest.fixture
def voice():
    return Voice


@pytest.fixture
def bench():
    return Bench


@pytest.fixture
def task():
    return Task({"question": "2+2?"}, answer="4")


@pytest.fixture
def run():
    return asyncio.run
