"""Where a run is in its loop, how long it took and may still take: from its spec and its committed lines."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import SelfevoError
from ..loop import Block, parse, segment
from ..report.read import Line


@dataclass(frozen=True)
class Step:
    """A stage of the block that a run is in. `state`: done, at work (judged: the next to be committed) or waiting; `usual`: the mean
    seconds of its executions so far, None for none."""

    stage: str
    state: str
    usual: float | None


@dataclass(frozen=True)
class Place:
    """`iteration` of at most `total` are committed (blocks that loop, one after the other; 0 where none does); `path`: the block that is
    at work."""

    iteration: int
    total: int
    path: str
    steps: tuple[Step, ...]


def loop(spec: Mapping[str, Any]) -> Block | None:
    """The spec's loop, or None where it cannot be read."""
    node, stages, policies, memories = (_kept(spec.get(name)) for name in ("loop", "stages", "policies", "memories"))
    try:
        root, errors = parse(node, list(stages), [*policies, *memories])
    except (SelfevoError, TypeError, ValueError, KeyError, AttributeError, RecursionError):
        return None
    return root if root.do and not errors else None


def _kept(node: Any) -> dict[Any, Any]:
    """A mapping without what is null: a spec drops stages and blocks so."""
    return {key: value for key, value in node.items() if value is not None} if isinstance(node, Mapping) else {}


def place(root: Block | None, lines: Sequence[Line], ended: bool = False) -> Place:
    """Where a run is that committed these lines; `ended`: it did all it had to."""
    if root is None:
        last = lines[-1].iteration + 1 if lines else 0
        return Place(last, 0, lines[-1].path if lines else "", ())
    blocks = [b for b in root.do if isinstance(b, Block)]
    before, offsets = 0, dict[str, int]()
    for block in blocks:
        offsets[block.name] = before
        before += block.limit if block.loops else 0
    total = before
    if not lines:
        return Place(0, total, "", ())
    path = lines[-1].path
    done = {line.stage for line in _tail(lines, path)}
    inner = block_at(root, path)
    top = next((b for b in blocks if path.partition("/")[0].partition(".")[0] == b.name), None)
    finished = ended or _over(root, path, lines[-1].stage)
    began = offsets[top.name] + (lines[-1].iteration if top.loops else 0) if top is not None else 0
    iteration = min(total, began + (1 if finished and top is not None and top.loops else 0))
    if finished:
        done = set()  # the next iteration begins, or the next block
        if top is not None and (not top.loops or lines[-1].iteration + 1 >= top.limit) and top is not blocks[-1]:
            inner = blocks[blocks.index(top) + 1]
            path = segment(inner, 0)
    names = [item for item in inner.do if isinstance(item, str)] if inner is not None else []
    return Place(iteration, total, path, tuple(_steps(names, done, lines)))


def block_at(root: Block, path: str) -> Block | None:
    """The block of a path such as "round.1/learn.2"."""
    block = root
    for part in path.split("/"):
        name = part.partition(".")[0]
        inner = next((b for b in block.do if isinstance(b, Block) and b.name == name), None)
        if inner is None:
            return None
        block = inner
    return block


def left(at: Place, lines: Sequence[Line]) -> float | None:
    """Seconds from the last commit to the end, at the mean pace of the last ten iterations; None before one is whole or where nobody can
    tell. A block that may end early is taken to run to its limit."""
    if not at.total or not lines or at.iteration < 1:
        return None
    groups: dict[tuple[str, int], float] = {}
    for line in lines:
        top = line.path.partition("/")[0]
        if "." in top:
            key = (top.partition(".")[0], line.iteration)
            groups[key] = groups.get(key, 0.0) + line.seconds - line.metrics.get("time/overlapped", 0.0)
    whole = list(groups.values())[:-1] if len(groups) > at.iteration else list(groups.values())
    if not whole:
        return None
    recent = whole[-10:]
    here = list(groups.values())[-1] if len(groups) > len(whole) else 0.0
    return max(0.0, sum(recent) / len(recent) * (at.total - at.iteration) - here)


def _tail(lines: Sequence[Line], path: str) -> Iterator[Line]:
    for line in reversed(lines):
        if line.path != path:
            return
        yield line


def _over(root: Block, path: str, stage: str) -> bool:
    """Whether an iteration of the outermost block is whole once this stage is committed: it is the last of the last iteration of the last
    block inside. Blocks inside that may end early are not seen to."""
    inner = block_at(root, path.partition("/")[0])
    for part in path.split("/")[1:]:
        last = inner.do[-1] if inner is not None else None
        name, _, index = part.partition(".")
        if not isinstance(last, Block) or last.name != name or (last.loops and index != str(last.limit - 1)):
            return False
        inner = last
    return inner is not None and inner.do[-1] == stage


def _steps(names: Sequence[str], done: set[str], lines: Sequence[Line]) -> Iterator[Step]:
    spent: dict[str, list[float]] = {}
    for line in lines:
        spent.setdefault(line.stage, []).append(line.seconds)
    begun = False
    for name in names:
        state = "done" if name in done else "waiting" if begun else "at work"
        begun |= state == "at work"
        mine = spent.get(name)
        yield Step(name, state, sum(mine) / len(mine) if mine else None)
