"""What each optimisation is worth: the same work with it and without it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn.functional import silu

from benchmarks.context import Context
from benchmarks.figures import Figure, faster, interleaved, interval, quotients
from benchmarks.policies import policy
from benchmarks.training import learner
from benchmarks.workloads import prompt, tasks, training_rows
from selfevo import passes
from selfevo.decoder import rows, step, stream, weights
from selfevo.engines import Native, decoding
from selfevo.learning import models, session
from selfevo.protocols import GenerateRequest, Sampling

THREADS = 2
TOPIC = "parts"


@contextmanager
def swapped(*changes: tuple[Any, str, Any]) -> Iterator[None]:
    """Attributes replaced while it lasts."""
    patches = [patch.object(where, name, value) for where, name, value in changes]
    for p in patches:
        p.start()
    try:
        yield
    finally:
        for p in patches:
            p.stop()


def never(model: Any) -> bool:
    """No model is computed from its weights alone."""
    return False


def nowhere() -> bool:
    """No system divides a call."""
    return False


def not_in_c(*asked: Any) -> None:
    """Nothing is compiled."""


def whole(matrix: Tensor, parts: int) -> Tensor:
    """A matrix that is not divided."""
    return matrix


def plain_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """RMSNorm in PyTorch's own operations."""
    return weight * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))


def plain_rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """The same of the rotation."""
    return x * cos + x.roll(x.shape[-1] // 2, -1) * sin


def plain_gate(both: Tensor) -> Tensor:
    """The same of the gate."""
    gate, up = both.chunk(2, 1)
    return silu(gate) * up


class Plain:
    """A function with `apply`."""

    def __init__(self, apply: Callable[..., Tensor]):
        self.apply = apply


LAYOUT = rows.layout


def unshared(contexts: Any, responses: Any, device: Any) -> Any:
    """The stream with every row's context of its own (each is made unlike all others, then given its first id back)."""
    made = LAYOUT([(-1 - i, *c[1:]) for i, c in enumerate(contexts)], responses, device)
    first = torch.tensor([c[0] for c in contexts], device=device)
    unlike = made.ids < 0
    made.ids[unlike] = first[-1 - made.ids[unlike]]
    return made


WITHOUT: dict[str, dict[str, tuple[tuple[Any, str, Any], ...]]] = {
    "generate": {
        "decode steps from the weights": ((decoding, "fits", never),),
        "matrices joined": ((weights, "JOINED", 0),),
        "C between the products": ((step, "compiled", not_in_c),),
        "inference mode": ((torch, "inference_mode", torch.no_grad),),
    },
    "generate 20M": {
        "products divided by outputs": ((step, "divided", whole),),
        "C between the products": ((step, "compiled", not_in_c),),
        "inference mode": ((torch, "inference_mode", torch.no_grad),),
    },
    "generate divided": {
        "a process for each thread": ((decoding, "possible", nowhere),),
    },
    "update": {
        "the stream (no padding, shared contexts, own gradients)": tuple((m, "fits", never) for m in (passes, models, session)),
        "shared contexts": ((passes, "layout", unshared),),
        "gradients of norm, rotation and gate": (
            (stream, "Norm", Plain(plain_norm)), (stream, "Rotate", Plain(plain_rotate)), (stream, "Gated", Plain(plain_gate)),
        ),
        "matrices joined": ((weights, "JOINED", 0),),
        "rows of like length attend together": ((rows, "LIKE", 0.0),),
    },
}  # fmt: skip


def sampling(live: Any, n: int, alone: bool) -> Callable[[], Any]:
    """n replies as the quickstart samples them, 16 to a prompt; `alone`: divided as in a run of one process."""
    rng = random.Random("parts")
    given = tasks(n // 16)
    requests = [GenerateRequest(prompt(live.codec, given[i // 16]), rng.getrandbits(62), Sampling(96)) for i in range(n)]
    engine = Native()
    engine.alone = alone
    engine.load(live)
    return lambda: engine.generate(requests)


def fresh(live: Any, n: int, alone: bool) -> Callable[[], Any]:
    """The same by an engine of its own, whose slots are those that are in force."""
    call: list[Callable[[], Any]] = []

    def run() -> Any:
        if not call:
            call.append(sampling(live, n, alone))
        return call[0]()

    return run


def updating(live: Any, n: int) -> Callable[[], Any]:
    """One update on n rows, replies up to 96."""
    given, one, ctx = training_rows(live, n, 16, 96, 40), learner(), Context()
    return lambda: one.update(live, given, ctx)


def under(changes: tuple[tuple[Any, str, Any], ...], call: Callable[[], Any]) -> Callable[[], Any]:
    """The call with changes in force."""

    def run() -> Any:
        with swapped(*changes):
            return call()

    return run


def figures(quick: bool) -> list[Figure]:
    """Seconds without over seconds with."""
    out = []
    for what, parts in WITHOUT.items():
        large = what.endswith("20M")
        repeats = 1 if quick else 20 if large else 40
        n = 16 if large else 64 if quick else 256

        def made(what: str = what, n: int = n, size: str = "20M" if large else "1M") -> Callable[[], Any]:
            return updating(policy(size), n) if what == "update" else fresh(policy(size), n, alone=what.endswith("divided"))

        ours = made()
        for name, changes in parts.items():
            times = interleaved({"with": ours, "without": under(changes, made())}, repeats, alternate=True)
            low, high = interval(quotients(times["without"], times["with"]))
            note = f"95 % interval of the median {low:.3g} to {high:.3g}"
            out.append(faster(TOPIC, f"{what} {n}: {name}", "without it", times["with"], times["without"], note=note))
    return out
