"""One optimizer step on ragged rows: `Learner.update` beside TRL's step on the same rows and beside its matrix products alone."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks import trl_peer
from benchmarks.context import Context
from benchmarks.figures import Figure, against_limit, faster, interleaved
from benchmarks.policies import parameters, policy
from benchmarks.products import Limit, Shape, Work, fastest, flops, shared_work, work
from benchmarks.workloads import groups, pairs, training_rows
from selfevo.records import Row

THREADS = 2
TOPIC = "training"
GROUP = 16


MICRO = (8, 16, 32, 64)
"""Rows of TRL's micro-batches that are tried; the fastest is used."""


@dataclass(frozen=True)
class Setting:
    """A model and its rows; replies are lognormal with this mean, clipped to [8, high]."""

    size: str
    rows: int
    high: int
    mean: float

    @property
    def name(self) -> str:
        """As the table shows it."""
        return f"{self.size}, {self.rows} rows, replies to {self.high}"


FULL = (Setting("1M", 256, 96, 40), Setting("5M", 128, 96, 40), Setting("20M", 48, 96, 40))
QUICK = (Setting("1M", 32, 96, 40),)


def learner(micro_tokens: int = 4096) -> Any:
    """GRPO as in the quickstart, with TRL's epsilon and a learning rate that both sides share."""
    from selfevo.advantages import GroupNorm
    from selfevo.learner import Learner
    from selfevo.objectives import ClippedRatio
    from selfevo.samples import PolicyTurns

    return Learner(
        {"turns": PolicyTurns()}, {"pg": ClippedRatio("outcome", low=0.2, high=0.2, reduce="rows")},
        {"outcome": GroupNorm(eps=trl_peer.STD_EPS)}, lr=trl_peer.LR, betas=trl_peer.BETAS, weight_decay=trl_peer.WEIGHT_DECAY,
        clip_norm=trl_peer.CLIP, micro_tokens=micro_tokens,
    )  # fmt: skip


def advantages(rows: Sequence[Row]) -> list[float]:
    """The learner's own advantage column of these rows."""
    one, ctx = learner(), Context()
    samples = one.samples["turns"].build(rows, ctx)
    return [float(a) for a in one.advantage["outcome"](samples, rows, ctx)]


def peer_step(live: Any, rows: int, folder: str, max_tokens: int = 384, **more: Any) -> trl_peer.Step:
    """TRL's step on a model of its own with the same weights; `more` goes to its settings."""
    settings = trl_peer.config(folder, rows, 1, GROUP, max_tokens, 1, **more)
    data = [{"prompt": "?"}] * (rows // GROUP)  # a trainer wants some; nothing is generated from it
    twin = live.fork().to_transformers()
    made = trl_peer.trainer(twin.model, twin.tokenizer, data, lambda completions, **_: [0.0] * len(completions), settings)
    return trl_peer.Step(made)


def measure(setting: Setting, repeats: int) -> list[Figure]:
    """Four figures: TRL's time over ours, and ours over the products' with every row's own prompt, with shared ones; loss apart."""
    live = policy(setting.size)
    rows = training_rows(live, setting.rows, GROUP, setting.high, setting.mean)
    shape = Shape.of(live.model.config)
    needs = {"own": work(pairs(rows)), "shared": shared_work(groups(rows))}
    ours, ctx = learner(), Context()
    with tempfile.TemporaryDirectory() as folder:
        peer = peer_step(live, setting.rows, folder)
    inputs = trl_peer.batch(rows, advantages(rows))
    first = peer.gradient(inputs, 1)
    ours.update(live, rows, ctx)
    apart = {"loss": abs(first[0] - ctx.metrics["train/loss"]), "norm": abs(first[1] / ctx.metrics["train/grad_norm"] - 1)}
    splits = [setting.rows // n for n in MICRO if n <= setting.rows]
    split = fastest({s: lambda s=s: peer.step(inputs, s) for s in splits}, tries=1, warm=False)  # `gradient` above was warm-up
    limits = {name: Limit(shape, need, backward=True) for name, need in needs.items()}
    calls = {
        "ours": lambda: ours.update(live, rows, ctx), "trl": lambda: peer.step(inputs, split),
        "own": limits["own"].run, "shared": limits["shared"].run,
    }  # fmt: skip
    times = interleaved(calls, repeats, warmup=0)
    detail = {
        "parameters": parameters(live.model), "rows": setting.rows, "group": GROUP, "prompt_tokens": sum(p for p, _ in pairs(rows)),
        "reply_tokens": sum(r for _, r in pairs(rows)), "trained_tokens": ctx.metrics["train/tokens"],
        "trl_rows_per_micro_batch": setting.rows // split, "apart": apart, "seconds": times,
        "products": {n: counted(shape, needs[n], limits[n]) for n in needs},
    }  # fmt: skip
    name = setting.name
    return [
        faster(TOPIC, name, "TRL 1.16's step", times["ours"], times["trl"], aim=1.0, detail=detail),
        against_limit(TOPIC, name, "products, a prompt per row", times["ours"], times["own"], aim=1.35),
        against_limit(TOPIC, name, "products, a prompt per group", times["ours"], times["shared"], note="counted as distinct tokens"),
    ]


def counted(shape: Shape, need: Work, limit: Limit) -> dict[str, Any]:
    """What a limit consists of and how it was run."""
    return {"tokens": need.tokens, "outputs": need.outputs, "flops": flops(shape, need, True), "piece": limit.piece, "attention": limit.way}


def figures(quick: bool) -> list[Figure]:
    """All settings."""
    return [f for s in (QUICK if quick else FULL) for f in measure(s, 3)]
