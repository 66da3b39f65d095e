"""A plan in words: tables legible at 80 columns, formulas for -v, and plain values for --json."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from . import activations, hours, serving, states
from .cluster import GIB
from .refusal import advice
from .times import Work, total, work
from .work import Range

if TYPE_CHECKING:
    from rich.table import Table

    from .plan import Plan

PHASES = {"train": "training", "generate": "generating"}
KINDS = ("generate", "score", "train")
WIDTH = 80


def parts(plan: Plan, verbose: bool) -> Iterator[str | Table]:
    """Lines and tables, in order."""
    yield from head(plan)
    yield memory(plan)
    if plan.host:
        said = ", ".join(f"{name} {gib(size)}" for name, size in plan.host.items())
        yield wrapped(f"host memory per node: {gib(sum(plan.host.values()))} of {plan.cluster.host_memory:,.0f} GiB ({said})")
    yield wrapped(verdict(plan))
    for stage in plan.unplanned:
        yield wrapped(f"not planned: what {stage} takes, since its optimizer is not the learner")
    done = work(plan)
    yield ""
    yield work_table(done)
    if plan.cluster.kind is not None and not plan.problems:
        yield ""
        yield time_table(done)
        yield from time_words(done, plan)
    if verbose:
        yield ""
        yield from explained(plan)


def head(plan: Plan) -> Iterator[str]:
    """What is planned, where."""
    yield f"{plan.spec.name} on {plan.cluster}"
    for name, p in plan.policies.items():
        adapter = f", adapter of {p.adapter:,}" if p.adapter else ""
        yield f"{name}: {p.shape.name}, {p.shape.parameters:,} parameters of {p.width} bytes{adapter}"
    share = plan.launch
    beside = f", {share.engines} engines" if share.engines else ""
    yield f"launcher: {share.nodes} x {share.processes} processes{beside}, zero {share.zero}, offload {share.offload}"
    for name, s in plan.served.items():
        most = min(s.most, s.room // (plan.prompt + plan.reply / 2))
        label = f"engine {name}".rstrip()
        places = f"{s.groups} x {s.group} {'GPU' if plan.cluster.gpus else 'process'}"
        yield f"{label}: {s.kind}, {places}, up to {most:,.0f} replies at once on each"
    yield ""


def memory(plan: Plan) -> Table:
    """Per GPU, in the two phases of an iteration."""
    phases = [p for p in PHASES if p == "generate" or plan.fits]
    unit = "GPU" if plan.cluster.gpus else "process"
    out = table([f"GiB per {unit}", *(PHASES[p] for p in phases)])
    for item in plan.items:
        out.add_row(item.name, *(gib(getattr(item, p)) for p in phases))
    out.add_row("total", *(gib(plan.total(p)) for p in phases))
    out.add_row("can be had", *(gib(plan.room) for _ in phases))
    return out


def verdict(plan: Plan) -> str:
    """Whether it fits, and if not what would."""
    if not plan.problems:
        return "it fits"
    return f"does not fit: {'; '.join(plan.problems)}; {advice(plan)}"


def work_table(done: Sequence[Work]) -> Table:
    """What the whole run has to do."""
    out = table(["whole run", "runs", "rows", "tokens", "steps"])
    for part in done:
        unsure = part.kind == "evaluate" and not part.rows.high
        cells = ["?", "?"] if unsure else [ranged(part.rows), ranged(part.tokens)]
        out.add_row(part.stage, ranged(part.runs), *cells, ranged(part.steps) if part.steps.high else "")
    return out


def time_table(done: Sequence[Work]) -> Table:
    """Hours of every stage, and in all."""
    out = table(["hours", *KINDS, "all"])
    for part in done:
        out.add_row(part.stage, *(ranged(getattr(part, kind), hour) for kind in (*KINDS, "seconds")))
    out.add_row("total", *(ranged(total(list(done), kind), hour) for kind in (*KINDS, "seconds")))
    return out


def time_words(done: Sequence[Work], plan: Plan) -> Iterator[str]:
    """GPU-hours, and what they rest on."""
    spent = total(list(done), "seconds") * float(plan.gpus)
    c = plan.cluster
    yield f"{ranged(spent, hour)} GPU-hours on {plan.gpus} GPU{'s' if plan.gpus > 1 else ''},"
    yield f"at {c.training:.0%} of their FLOP/s and {c.decoding:.0%} of their bandwidth,"
    yield f"prompts of {plan.prompt} and replies of {plan.reply:,.0f} tokens (--prompt, --reply say otherwise)"


def explained(plan: Plan) -> Iterator[str]:
    """How each number came about, then the formulas."""
    yield "memory, reckoned from"
    for item in plan.items:
        yield wrapped(f"  {item.name}: {item.why}")
    for module in (states, activations, serving, hours):
        first, *rest = formulas(module)
        yield from ("", wrapped(first), *rest)


def formulas(module: Any) -> list[str]:
    """The first line and the indented lines of a module's docstring."""
    lines = module.__doc__.splitlines()
    return [lines[0], *(line for line in lines if line.startswith("    "))]


def values(plan: Plan) -> dict[str, Any]:
    """The same as JSON-able values: bytes, seconds, counts as [least, most]."""
    done = work(plan)
    fields = ("runs", "rows", "tokens", "steps", *KINDS, "seconds")
    spent = total(done, "seconds")
    return {
        "name": plan.spec.name,
        "cluster": {"nodes": plan.cluster.nodes, "gpus": plan.cluster.gpus, "gpu": plan.cluster.gpu, "memory_gib": plan.cluster.memory},
        "launcher": {k: getattr(plan.launch, k) for k in ("processes", "nodes", "zero", "offload")},
        "policies": {n: {"model": p.shape.name, "parameters": p.shape.parameters, "trained": p.trained} for n, p in plan.policies.items()},
        "bytes_per_gpu": {i.name: {"train": i.train, "generate": i.generate, "why": i.why} for i in plan.items},
        "total": {p: plan.total(p) for p in PHASES},
        "room": plan.room,
        "host_bytes_per_node": dict(plan.host),
        "fits": not plan.problems,
        "problems": plan.problems,
        "not_planned": plan.unplanned,
        "work": {w.stage: {f: [(r := getattr(w, f)).low, r.high] for f in fields} for w in done},
        "gpu_hours": None if plan.cluster.kind is None else [x * plan.gpus / 3600 for x in (spent.low, spent.high)],
        "assumed": {
            "prompt": plan.prompt, "reply": plan.reply, "training": plan.cluster.training, "decoding": plan.cluster.decoding,
            "reserve": plan.cluster.reserve,
        },
    }  # fmt: skip


def wrapped(text: str) -> str:
    """A sentence over lines of 80 columns, the later ones indented; a path or a setting is never broken."""
    return "\n".join(textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False))


def table(columns: Sequence[str]) -> Table:
    """A bare table: words to the left, numbers to the right."""
    from rich.table import Table

    out = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for i, name in enumerate(columns):
        out.add_column(name, justify="right" if i else "left", no_wrap=True)
    return out


def gib(size: float) -> str:
    """Bytes in GiB, one decimal; a dash for nothing."""
    return f"{size / GIB:,.1f}" if size >= 0.05 * GIB else f"{size / GIB:.2g}" if size else "-"


def count(value: float) -> str:
    """1,234 or 12.3e6: whole below a million, three digits above."""
    if value < 1e6:
        return f"{value:,.0f}"
    power = 6 if value < 1e9 else 9
    return f"{value / 10**power:.3g}e{power}"


def ranged(value: Range, how: Callable[[float], str] = count) -> str:
    """The least and the most, or the one number."""
    low, high = "0" if value.low == 0 < value.high else how(value.low), how(value.high)
    return high if low == high else f"{low} - {high}"


def hour(seconds: float) -> str:
    """Hours, in two digits where they are few; a dash for no time."""
    value = seconds / 3600
    if not value:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2g}" if value >= 0.01 else "<0.01"
