"""The loop grammar: nested blocks of stages. Parsing and paths only; `running.py` walks them.

loop:
  start: {do: [evaluate]}
  round:
    repeat: 3                       # or until: {metric: eval/sum/pass@1, at_least: 0.9}, max: 20
    do:                             # a list of stage names, or a mapping whose blocks nest
      teach: {repeat: 6, do: [propose, attempts]}
      rollout:                      # a null value runs the stage of that name
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .errors import UserError, nearest
from .where import Where

KEYS = ("do", "repeat", "until", "max", "each", "fork", "adopt", "every", "ahead")


@dataclass(frozen=True, slots=True)
class Until:
    """Stop condition, read after each iteration: a committed metric, or the number of rows of a table that match.

    {metric: name, at_least|at_most: x} or {rows: table, where: {...}, at_least: n}.
    """

    metric: str = ""
    rows: str = ""
    where: Where = field(default_factory=lambda: Where({}))
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether the value (a metric or a row count) ends the block."""
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)


@dataclass(frozen=True, slots=True)
class Block:
    """Stages and blocks run in order, once or more.

    repeat n | until a condition holds (at most `max` times) | each item of a list | fork: with private copies of policies or
    memories that are dropped at the end unless `adopt` | every k-th iteration of the enclosing block.
    `ahead` names the rollout that runs one iteration ahead, beside the training of the iteration before ("": none does).
    """

    name: str
    do: tuple[Block | str, ...]
    repeat: int | None = None
    until: Until | None = None
    max: int | None = None
    each: tuple[Any, ...] | None = None
    fork: tuple[str, ...] = ()
    adopt: bool = False
    every: int = 1
    ahead: str = ""

    @property
    def loops(self) -> bool:
        """Whether its iterations are numbered in paths."""
        return self.repeat is not None or self.until is not None or self.each is not None

    @property
    def limit(self) -> int:
        """Most iterations it can make."""
        if self.each is not None:
            return len(self.each)
        if self.until is not None:
            assert self.max is not None
            return self.max
        return 1 if self.repeat is None else self.repeat

    def stages(self) -> Iterator[str]:
        """Names of every stage it runs, nested ones included, in order."""
        for item in self.do:
            if isinstance(item, Block):
                yield from item.stages()
            else:
                yield item

    def blocks(self) -> Iterator[Block]:
        """Every block nested in it, itself first."""
        yield self
        for item in self.do:
            if isinstance(item, Block):
                yield from item.blocks()


def segment(block: Block, index: int) -> str:
    """A block's part of a path: "main.3", or "start" for a block that runs once."""
    return f"{block.name}.{index}" if block.loops else block.name


def parse(node: Any, stages: Sequence[str], forkable: Sequence[str] = ()) -> tuple[Block, list[str]]:
    """The root block of a `loop` node, and every mistake in it as one line each (the block is usable only without any)."""
    errors: list[str] = []
    if not isinstance(node, Mapping) or not node:
        return Block("", ()), [f"loop: expected a mapping of blocks, got {node!r}"]
    seen: set[str] = set()
    do = tuple(_block(name, value, f"loop.{name}", stages, forkable, seen, errors) for name, value in node.items())
    root = Block("", do)
    for name in sorted(set(stages) - set(root.stages())):
        errors.append(f"stages.{name}: no block of the loop runs this stage{nearest(name, root.stages())}")
    return root, errors


def _block(name: str, node: Any, where: str, stages: Sequence[str], forkable: Sequence[str], seen: set[str], errors: list[str]) -> Block:
    if name in seen or name in stages:
        errors.append(f"{where}: a block needs a name of its own; '{name}' is already a {'stage' if name in stages else 'block'}")
    seen.add(name)
    if not isinstance(node, Mapping):
        errors.append(f"{where}: expected a block such as {{repeat: 3, do: [...]}}, got {node!r}")
        return Block(name, ())
    for key in node:
        if key not in KEYS:
            errors.append(f"{where}.{key}: unknown key{nearest(str(key), KEYS)}")
    kinds = [k for k in ("repeat", "until", "each") if node.get(k) is not None]
    if len(kinds) > 1:
        errors.append(f"{where}: a block has one of repeat, until and each, not {' and '.join(kinds)}")
    do = _items(node.get("do"), where, stages, forkable, seen, errors)
    counts = {key: _count(node.get(key), f"{where}.{key}", errors) for key in ("repeat", "max", "every")}
    until = _until(node["until"], f"{where}.until", errors) if node.get("until") is not None else None
    if until is not None and counts["max"] is None:
        errors.append(f"{where}: until needs `max`, the most iterations it may take")
    if until is None and counts["max"] is not None:
        errors.append(f"{where}.max: only a block with `until` has a max")
    each = node.get("each")
    if each is not None and not isinstance(each, (list, tuple)):
        errors.append(f"{where}.each: expected a list, got {each!r}")
    fork = node.get("fork") or ()
    fork = (fork,) if isinstance(fork, str) else tuple(fork)
    for target in fork:
        if target not in forkable:
            errors.append(f"{where}.fork: '{target}' is neither a policy nor a memory{nearest(target, forkable)}")
    every = counts["every"]
    ahead = _ahead(node.get("ahead"), f"{where}.ahead", do, errors)
    if ahead and (do[0] != ahead or fork or not (node.get("repeat") is not None or each is not None)):
        rule = "only the first stage of a block that has `repeat` or `each`, and no `fork`, can"
        errors.append(f"{where}.ahead.{ahead}: '{ahead}' cannot run ahead here: {rule}")
    return Block(
        name,
        do,
        counts["repeat"],
        until,
        counts["max"],
        tuple(each) if isinstance(each, (list, tuple)) else None,
        fork,
        bool(node.get("adopt", False)),
        1 if every is None else every,
        ahead,
    )


def _items(
    node: Any, where: str, stages: Sequence[str], forkable: Sequence[str], seen: set[str], errors: list[str]
) -> tuple[Block | str, ...]:
    pairs: list[tuple[str, Any]] = []
    if isinstance(node, Mapping):
        pairs = list(node.items())
    elif isinstance(node, (list, tuple)):
        for item in node:
            pairs += list(item.items()) if isinstance(item, Mapping) else [(str(item), None)]
    if not pairs:
        errors.append(f"{where}.do: expected stages to run, got {node!r}")
    out: list[Block | str] = []
    for name, value in pairs:
        if value is not None:
            out.append(_block(name, value, f"{where}.do.{name}", stages, forkable, seen, errors))
        elif name in stages:
            out.append(name)
        else:
            errors.append(f"{where}.do: no stage is named '{name}'{nearest(name, stages)}")
    return tuple(out)


def _count(value: Any, where: str, errors: list[str]) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    errors.append(f"{where}: expected a whole number of iterations, got {value!r}")
    return None


def _ahead(node: Any, where: str, do: Sequence[Block | str], errors: list[str]) -> str:
    """The stage that runs ahead, from {stage: staleness}."""
    if node is None:
        return ""
    if not isinstance(node, Mapping):
        errors.append(f"{where}: expected {{stage: 1}}, or 0 for none, got {node!r}")
        return ""
    known = list(Block("", tuple(do)).stages())
    for name, staleness in node.items():
        if name not in known:
            errors.append(f"{where}.{name}: no stage of this block is named '{name}'{nearest(str(name), known)}")
        if isinstance(staleness, bool) or staleness not in (0, 1):
            errors.append(f"{where}.{name}: expected 0 (no overlap) or 1 (one iteration ahead), got {staleness!r}")
    names = [str(name) for name, staleness in node.items() if staleness == 1]
    if len(names) > 1:
        errors.append(f"{where}: one stage of a block can run ahead, not {' and '.join(names)}")
    return names[0] if names and names[0] in known else ""


def _until(node: Any, where: str, errors: list[str]) -> Until | None:
    valid = ("metric", "rows", "where", "at_least", "at_most")
    if not isinstance(node, Mapping):
        errors.append(f"{where}: expected {{metric: ..., at_least: x}} or {{rows: table, at_least: n}}, got {node!r}")
        return None
    for key in node:
        if key not in valid:
            errors.append(f"{where}.{key}: unknown key{nearest(str(key), valid)}")
            return None
    if ("metric" in node) == ("rows" in node):
        errors.append(f"{where}: give either `metric` or `rows`")
        return None
    if "at_least" not in node and "at_most" not in node:
        errors.append(f"{where}: give `at_least` or `at_most`")
        return None
    try:
        filter_ = Where.parse(node.get("where", {}), f"{where}.where")
    except UserError as error:
        errors.append(str(error))
        return None
    return Until(node.get("metric", ""), node.get("rows", ""), filter_, node.get("at_least"), node.get("at_most"))
