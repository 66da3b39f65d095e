"""How often each stage runs, and on how many rows: read off the loop and the stages, without running anything.

Where only the run can tell (`until`, filters), the least and the most are both kept.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..loop import Block
from ..protocols import each_item
from ..references import TableRef


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most of a count."""

    low: float
    high: float

    def __mul__(self, other: Range | float) -> Range:
        other = other if isinstance(other, Range) else Range(other, other)
        return Range(self.low * other.low, self.high * other.high)

    def __add__(self, other: Range) -> Range:
        return Range(self.low + other.low, self.high + other.high)


ONE, NONE = Range(1, 1), Range(0, 0)


def passes(count: int, every: int) -> int:
    """How many of `count` iterations run an item with this `every`: each k-th, and always the last (`run.Run._block`)."""
    return -(-count // every)


def executions(block: Block, every: Mapping[str, int], rows: Mapping[str, Range]) -> dict[str, Range]:
    """Executions of each stage in one run of `block`. `every` and `rows` are those of the stages."""
    out: dict[str, Range] = {}
    least = _least(block, rows)
    for item in block.do:
        inner = executions(item, every, rows) if isinstance(item, Block) else {item: ONE}
        k = item.every if isinstance(item, Block) else every[item]
        times = Range(passes(least, k), passes(block.limit, k))
        for stage, count in inner.items():
            out[stage] = out.get(stage, NONE) + count * times
    return out


def _least(block: Block, rows: Mapping[str, Range]) -> int:
    """Fewest iterations: what `until` counts in rows cannot come from fewer batches than that."""
    if block.until is None or not block.limit:
        return block.limit
    if not block.until.rows or block.until.at_least is None:
        return 1
    ref = TableRef.parse(block.until.rows)
    most = rows.get(ref.stage, NONE).high
    if ref.block != block.name or most <= 0:
        return 1
    return min(block.limit, max(1, math.ceil(block.until.at_least / most)))


def table_rows(stages: Mapping[str, Mapping[str, Any]]) -> dict[str, Range]:
    """Rows of one execution of every rollout and score stage."""
    out: dict[str, Range] = {}

    def of(name: str, seen: tuple[str, ...] = ()) -> Range:
        if name in out or name not in stages or name in seen:
            return out.get(name, NONE)
        out[name] = count(stages[name], (*seen, name))
        return out[name]

    def count(node: Mapping[str, Any], seen: tuple[str, ...]) -> Range:
        if node["kind"] == "score":
            found = NONE
            for ref in each_item(node["of"]):
                found += spread(ref, of(TableRef.parse(ref).stage, seen))
            return Range(0 if node.get("where") else found.low, found.high)
        if node["kind"] != "rollout":
            return NONE
        tasks = node["tasks"]
        if isinstance(tasks, Mapping):
            given = of(TableRef.parse(tasks.get("follow", tasks.get("continue"))).stage, seen)
            given = Range(0 if tasks.get("where") or node.get("parse") else given.low, given.high)
            if node.get("n") is not None:
                given = Range(min(given.low, node["n"]), min(given.high, node["n"]))
        else:
            given = Range(node["n"], node["n"])
        variants = math.prod(len(versions) for versions in (node.get("bind") or {}).values())
        return given * (node.get("group", 1) * variants)

    for name in stages:
        of(name)
    return out


def spread(ref: str, rows: Range) -> Range:
    """Rows that a reference means: a range of iterations is at least its newest one, a block is at least one execution."""
    parsed = TableRef.parse(ref)
    if parsed.first is not None and parsed.last is not None:
        return Range(0 if parsed.last < 0 else rows.low, rows.high * (parsed.last - parsed.first + 1))
    return rows


def turns(strategy: Any, recorded: str = "selfevo.rollouts.Recorded") -> Range:
    """Replies that a policy samples in one episode: none where replies are recorded, up to `max_turns` where there is such a limit."""
    node = strategy if isinstance(strategy, Mapping) else {}
    if node.get("_target_") == recorded:
        return NONE
    most = node.get("max_turns")
    return Range(1, most) if isinstance(most, int) else ONE
