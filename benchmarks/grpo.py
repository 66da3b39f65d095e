"""GRPO end to end: a run of selfevo beside TRL 1.16's GRPOTrainer, both with the same tiny policy, tasks and settings.

Samples are replies that were generated and trained on. Every repeat is a process of its own, as people run either. Time runs from the
end of the first update to the end of the last; the first one (where everything is used for the first time), loading and the last
checkpoint are in a row of their own, imports in none.
"""

from __future__ import annotations

import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figures import Figure, ratios
from benchmarks.grpo_loss import first_update
from benchmarks.grpo_sides import GROUP, MAX_TOKENS, TASKS, Ours, Ran, Sizes, Theirs, data, exact

THREADS = 2
TOPIC = "grpo"
PEER = "TRL 1.16, transformers generate"
LOADING = "the first update, model loading and the last checkpoint included, imports not"
WAYS = tuple((split, cache) for cache in (None, "static") for split in (1, 2, 4))
"""Micro-batches of TRL's update, and caches of its generation, that are tried; the fastest pair is used.

Not among them: continuous batching of transformers, which took nine times as long on a CPU.
"""


def tokenizer() -> Any:
    """The bundled policy's."""
    from selfevo.models import Pretrained

    return Pretrained("tiny").load("solver").tokenizer


def same_rewards(ours: Ours) -> None:
    """TRL's reward function must say what selfevo's verifier says, or the two sides would not do the same work."""
    for r in (r for update in ours.rows for r in update):
        if exact(r.trajectory.text, str(r.trajectory.task.answer)) != r.reward("exact"):
            raise RuntimeError(f"the two reward rules differ on {r.trajectory.text!r}")


def repeat(side: Callable[..., Ours | Theirs], *given: Any, **settings: Any) -> Ran:
    """One repeat of a side."""
    return side(*given, **settings).run()


def in_its_own_process(*asked: Any, **settings: Any) -> Ran:
    """`repeat`, in a new process: what one run leaves in memory would have the next compute on other pages."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(repeat, *asked, **settings).result()


def best_way(sizes: Sizes, tasks: Sequence[dict[str, str]], dtype: str) -> tuple[tuple[int, str | None], dict[str, float]]:
    """TRL's fastest way, and the seconds of each, over one update."""
    one = Sizes(1, sizes.tasks, sizes.group)
    Theirs(one, tasks, 1, dtype).run()  # the first use of anything is slow
    seconds = {(split, cache): Theirs(one, tasks, split, dtype, cache_implementation=cache).run().ended[-1] for split, cache in WAYS}
    return min(seconds, key=lambda way: seconds[way]), {f"{split} micro-batches, cache {c}": x for (split, c), x in seconds.items()}


def end_to_end(sizes: Sizes, repeats: int, dtype: str = "float32", aim: float = 2.5) -> list[Figure]:
    """Samples per second, and tokens per second."""
    ours = Ours(sizes, dtype)
    ours.run()  # its tasks are those of every repeat
    same_rewards(ours)
    tasks = data(ours.rows, sizes.group, tokenizer())
    (split, cache), tried = best_way(sizes, tasks, dtype)
    ran: dict[str, list[Ran]] = {"ours": [], "trl": []}
    for _ in range(repeats):
        ran["ours"].append(in_its_own_process(Ours, sizes, dtype))
        ran["trl"].append(in_its_own_process(Theirs, sizes, tasks, split, dtype, cache_implementation=cache))
    expected = [sizes.rows] * sizes.updates
    for r in (*ran["ours"], *ran["trl"]):
        if r.replies != expected:
            raise RuntimeError(f"{r.replies} replies were trained on, {expected} were asked for")
    detail = {
        "updates": sizes.updates, "tasks": sizes.tasks, "group": sizes.group, "max_tokens": MAX_TOKENS, "asked": sum(expected),
        "dtype": dtype, "trl_rows_per_micro_batch": sizes.rows // split, "trl_cache": cache, "trl_tried": tried,
        **{side: [vars(r) for r in done] for side, done in ran.items()},
    }  # fmt: skip
    what = f"{sizes.tasks} x {sizes.group} samples, {dtype}"
    return [
        rate(f"{what}: samples/s", ran, lambda r: r.later("replies"), "samples/s", aim=aim, detail=detail),
        rate(f"{what}: tokens/s", ran, lambda r: r.later("tokens"), "tokens/s"),
        rate(f"{what}: samples/s with loading", ran, lambda r: sum(r.replies) / r.whole, "samples/s", note=LOADING),
    ]


def rate(what: str, ran: dict[str, list[Ran]], of: Any, unit: str, **more: Any) -> Figure:
    """A ratio of rates, ours over TRL's."""
    ours, theirs = ([of(r) for r in ran[side]] for side in ("ours", "trl"))
    ratio, low, high = ratios(ours, theirs)
    return Figure(
        TOPIC, what, PEER, ratio, low, high, statistics.median(ours), statistics.median(theirs), unit, repeats=len(ours), **more
    )


def half_precision(sizes: Sizes, repeats: int) -> list[Figure]:
    """The same in bfloat16, where the CPU multiplies it."""
    missing = lacking()
    if not missing:
        return end_to_end(sizes, repeats, "bfloat16", aim=4.0)[:1]
    note = f"not run: this CPU has no {missing}, so bfloat16 products would be emulated"
    return [Figure(TOPIC, f"{sizes.tasks} x {sizes.group} samples, bfloat16: samples/s", PEER, None, aim=4.0, unit="samples/s", note=note)]


def lacking(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The instructions for bfloat16 that the CPU lacks; "" where it has one of the two kinds."""
    flags = set(cpuinfo.read_text().split()) if cpuinfo.exists() else set()
    return "" if flags & {"amx_bf16", "avx512_bf16"} else "AMX (amx_bf16) and no AVX512-BF16 (avx512_bf16)"


def figures(quick: bool) -> list[Figure]:
    """Speed, equality of the first update, and bfloat16."""
    sizes = Sizes(2, 4, 8) if quick else Sizes(6, TASKS, GROUP)
    repeats = 1 if quick else 5
    return [*end_to_end(sizes, repeats), *first_update(sizes), *half_precision(sizes, repeats)]
