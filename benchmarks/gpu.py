"""On a GPU: what share of its arithmetic training uses, and decoding of its memory's bandwidth.

A random model of Qwen3-0.6B's shape in bfloat16, beside what the card's maker states, beside a matrix product and a copy in the same run,
and beside TRL and transformers.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from benchmarks import trl_peer
from benchmarks.context import Context
from benchmarks.decode_limit import Step, steps
from benchmarks.figures import Figure, faster, interleaved
from benchmarks.generation import HF, rates
from benchmarks.generation_sides import Ours, Transformers, batch
from benchmarks.policies import parameters, policy
from benchmarks.products import Shape, fastest, flops, work
from benchmarks.training import GROUP, advantages, learner, peer_step
from benchmarks.workloads import pairs, training_rows

THREADS = 2
TOPIC = "gpu"
UTILISATION = 0.45
MICRO_TOKENS = 8192
PRODUCT, COPY = "a product of matrices, same run", "a copy in memory, same run"
FLOPS, BANDWIDTH = "arithmetic as its maker states it", "bandwidth as its maker states it"


@dataclass(frozen=True)
class Card:
    """Part of a device's name; operations a second in bfloat16 (dense, summed in float32) and bytes a second, as its maker states them."""

    name: str
    flops: float
    bandwidth: float


CARDS = (
    Card("GH200", 989e12, 4.0e12), Card("B200", 2250e12, 8.0e12), Card("H200", 989e12, 4.8e12), Card("H100 PCIe", 756e12, 2.0e12),
    Card("H100", 989e12, 3.35e12), Card("A100-SXM4-40GB", 312e12, 1.555e12), Card("A100-PCIE-40GB", 312e12, 1.555e12),
    Card("A100-SXM4-80GB", 312e12, 2.039e12), Card("A100", 312e12, 1.935e12), Card("L40S", 362e12, 0.864e12),
    Card("RTX 4090", 165e12, 1.008e12),
)  # fmt: skip
"""The first whose name is part of the device's own counts."""


def card(name: str) -> Card | None:
    """What is stated of a device of this name."""
    return next((c for c in CARDS if c.name in name), None)


@dataclass(frozen=True)
class Setting:
    """Rows and mean and longest reply of training and of decoding; side of the square product; bytes of the copy."""

    size: str = "0.6B"
    train: tuple[int, int, int] = (64, 384, 768)
    decode: tuple[tuple[int, int, int], ...] = ((16, 192, 512), (256, 192, 512))
    side: int = 8192
    copied: int = 1 << 30


def synced(call: Callable[[], Any], device: torch.device) -> Callable[[], None]:
    """The call and the end of all that it has begun on the device."""

    def run() -> None:
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    return run


def square(side: int, device: torch.device) -> Callable[[], Any]:
    """A product of 2 side^3 operations in bfloat16."""
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(a)
    return lambda: torch.mm(a, b, out=out)


def copying(size: int, device: torch.device) -> Callable[[], Any]:
    """A copy that reads and writes `size` bytes each."""
    source = torch.ones(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def decode_bytes(shape: Shape, walked: Sequence[Step], element: int) -> int:
    """Bytes that decode steps cannot do without: every matrix once a step, and the keys and values that running rows read."""
    matrices = shape.layers * sum(i * o for i, o in shape.matrices) + shape.hidden * shape.vocabulary
    keys = sum(sum(step.lengths) for step in walked)
    return element * (matrices * len(walked) + 2 * shape.layers * shape.kv_heads * shape.head_dim * keys)


def share(what: str, beside: str, amount: float, times: Sequence[float], rate: float | Sequence[float], aim: float | None, unit: str,
          detail: Mapping[str, Any]) -> Figure:  # fmt: skip
    """`amount` a second as a part of a rate, which is one number or was measured anew with each repeat."""
    bounds = [rate] * len(times) if isinstance(rate, int | float) else list(rate)
    found = [amount / t / r for t, r in zip(times, bounds, strict=True)]
    ours, peer = (statistics.median(x) / 1e12 for x in ([amount / t for t in times], bounds))
    return Figure(
        TOPIC, what, beside, statistics.median(found), min(found), max(found), ours, peer, unit, aim, repeats=len(times), detail=detail
    )


def training(live: Any, setting: Setting, known: Card | None, repeats: int) -> list[Figure]:
    """Model FLOP utilisation of `Learner.update`, and its time beside TRL's step.

    Operations are those of the model on its tokens, three passes' worth and causal attention as rectangles, recomputed ones left out
    (Chowdhery et al. 2022, appendix B).
    """
    device, (count, mean, high) = next(live.model.parameters()).device, setting.train
    rows = training_rows(live, count, GROUP, high, mean)
    shape = Shape.of(live.model.config)
    amount = flops(shape, work(pairs(rows)), backward=True)
    ours, ctx = learner(MICRO_TOKENS), Context()
    with tempfile.TemporaryDirectory() as folder:
        peer = peer_step(live, count, folder, use_cpu=device.type == "cpu", max_tokens=high)
    inputs = {name: x.to(device) for name, x in trl_peer.batch(rows, advantages(rows)).items()}
    splits = [count // n for n in (4, 8, 16) if n <= count]
    split = fastest({s: synced(lambda s=s: peer.step(inputs, s), device) for s in splits}, tries=1)
    calls = {"ours": lambda: ours.update(live, rows, ctx), "trl": lambda: peer.step(inputs, split), "product": square(setting.side, device)}
    times = interleaved({name: synced(call, device) for name, call in calls.items()}, repeats)
    what = f"{setting.size}, bfloat16: an update of {count} rows, replies to {high}, micro-batches of {MICRO_TOKENS} tokens"
    detail = {"flops": amount, "parameters": parameters(live.model), "trained_tokens": ctx.metrics["train/tokens"],
              "trl_rows_per_micro_batch": count // split, "seconds": times}  # fmt: skip
    out = [faster(TOPIC, what, "TRL 1.16's step", times["ours"], times["trl"], aim=1.0, detail=detail)]
    if known is not None:
        out.append(share(what, FLOPS, amount, times["ours"], known.flops, UTILISATION, "TFLOP/s", detail))
    return [*out, share(what, PRODUCT, amount, times["ours"], [2 * setting.side**3 / t for t in times["product"]], None, "TFLOP/s", detail)]


def decoding(live: Any, setting: Setting, rows: tuple[int, int, int], known: Card | None, repeats: int) -> list[Figure]:
    """Bytes a second that a call of the native engine needs for its decode steps, and its time beside transformers'."""
    device, (count, mean, high) = next(live.model.parameters()).device, rows
    given = batch(live.codec, count, False, high, mean)
    walked = steps([len(c) for c in given.contexts], given.limits)
    amount = decode_bytes(Shape.of(live.model.config), walked, next(live.model.parameters()).element_size())
    ours, peer = Ours(live), Transformers(live)
    calls = {"ours": lambda: ours.run(given), "peer": lambda: peer.run(given), "copy": copying(setting.copied, device)}
    times = interleaved({name: synced(call, device) for name, call in calls.items()}, repeats)
    what = f"{setting.size}, bfloat16: replies to {high}, batch {count}"
    detail = {"bytes": amount, "steps": len(walked), "ours_tokens": ours.given_tokens, "peer_tokens": peer.given_tokens, "seconds": times}
    out = [rates(faster(TOPIC, what, HF, times["ours"], times["peer"], aim=1.0, detail=detail), given)]
    if known is not None:
        out.append(share(what, BANDWIDTH, amount, times["ours"], known.bandwidth, None, "TB/s", detail))
    return [*out, share(what, COPY, amount, times["ours"], [2 * setting.copied / t for t in times["copy"]], None, "TB/s", detail)]


def measured(setting: Setting, device: torch.device, known: Card | None, repeats: int) -> list[Figure]:
    """Every figure on a device."""
    live = policy(setting.size, "bfloat16", device=str(device))
    out = training(live, setting, known, repeats)
    for rows in setting.decode:
        out += decoding(live, setting, rows, known, repeats)
    return out


def figures(quick: bool) -> list[Figure]:
    """On the first GPU; without one, lines that say so."""
    setting = Setting(train=(16, 96, 192), decode=((16, 48, 96),)) if quick else Setting()
    if not torch.cuda.is_available():
        note = "not run: PyTorch sees no GPU here"
        return [
            Figure(TOPIC, f"{setting.size}, bfloat16: an update", FLOPS, None, unit="TFLOP/s", aim=UTILISATION, note=note),
            Figure(TOPIC, f"{setting.size}, bfloat16: decoding", BANDWIDTH, None, unit="TB/s", note=note),
        ]
    name = torch.cuda.get_device_name(0)
    found = measured(setting, torch.device("cuda:0"), card(name), 1 if quick else 5)
    for figure in found:
        figure.note = f"on an {name}, {time.strftime('%Y-%m-%d')}"
    return found
