"""A reproduction's result in words, for a terminal."""

from __future__ import annotations

from ..spec.reproduction import Reproduction
from .effect import Pair
from .record import Record

MEANING = {
    "shown": "the whole interval is on the good side",
    "not shown": "the interval holds 0",
    "opposite": "the whole interval is on the bad side",
}


def lines(result: Record, block: Reproduction) -> list[str]:
    """What was compared, a line for every seed, the effect and the verdict; fits 80 columns but for long names."""
    name = result.id.rpartition("/")[2]
    width = max(len(name), len(result.baseline), len("method"))
    out = [f"{result.id}: {block.effect}", f"{result.metric}, {result.better} is better"]
    out.append(f"{'seed':>4}  {name:>{width}}  {result.baseline:>{width}}  {'difference':>10}  read at")
    for p in result.pairs:
        apart = p.method.value - p.baseline.value
        out.append(f"{p.seed:>4}  {p.method.value:>{width}.3f}  {p.baseline.value:>{width}.3f}  {apart:>+10.3f}  {cost(p, result.cost)}")
    e = result.effect
    out.append(f"effect {e.mean:+.3f} (95% over {len(result.pairs)} seeds: {e.low:+.3f} to {e.high:+.3f})")
    out.append(f"{e.verdict}: {MEANING[e.verdict]}")
    return out


def cost(pair: Pair, kind: str) -> str:
    """At which cost a seed was read, and what each side spent where that differs by more than a tenth."""
    ours, theirs = pair.method.tokens, pair.baseline.tokens
    both = f"{ours:,.0f} and {theirs:,.0f} tokens"
    if kind == "evaluation":
        return both
    far = max(ours, theirs) > 1.1 * min(ours, theirs)
    return f"{pair.at:,.0f} tokens" + (f" (they spent {both})" if far else "")
