"""A checked spec in plain sentences: what happens in which order, a sentence a stage, and how much is sampled."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..loop import Block
from ..spec import RunSpec
from ..spec.signatures import locate
from .diagram import component, condition, source, who

DERIVED = {
    "follow": "one about each row of {}", "continue": "going on with each row of {}",
    "suite": "from the sealed suite of {}, without answers", "gather": "one for each group of rows of {}",
    "compare": "a pair of rows of {} each", "again": "those of {} once more",
}  # fmt: skip

LONGEST = 110
"""Characters of a component's own sentence; of a longer one the part before the first comma, colon or bracket is told."""


def sentences(spec: RunSpec) -> list[str]:
    """What a run of this spec does. Each stage is told once, where the loop first comes to it."""
    told: set[str] = set()
    return [*_block(spec.loop, spec, told), *_sizes(spec)]


def _block(block: Block, spec: RunSpec, told: set[str]) -> Iterator[str]:
    if block.name:
        names = ", ".join(item.name if isinstance(item, Block) else item for item in block.do)
        yield f"{block.name}: {_often(block, spec)}{names}."
    for item in block.do:
        if isinstance(item, Block):
            yield from _block(item, spec, told)
        elif item not in told:
            told.add(item)
            yield f"  {item}: {stage(spec.stages[item], spec)}"


def _often(block: Block, spec: RunSpec) -> str:
    if block.until is not None:
        text = f"until {condition((_find(spec.raw['loop'], block.name) or {}).get('until') or {})}, at most {block.max} times: "
    elif block.each is not None:
        text = f"for each of {', '.join(map(str, block.each))}: "
    else:
        text = "once: " if block.repeat is None else f"{block.repeat} times: "
    forked = f"on copies of {', '.join(block.fork)}" + (", " if block.adopt else " that are dropped at the end, ") if block.fork else ""
    return (f"every {block.every} iterations, " if block.every != 1 else "") + forked + text


def _find(node: Any, name: str) -> Mapping[str, Any] | None:
    """A block's node by its name."""
    for key, below in node.items() if isinstance(node, Mapping) else ():
        if key == name and isinstance(below, Mapping):
            return below
        if (found := _find(below, name)) is not None:
            return found
    for item in node if isinstance(node, list) else ():
        if (found := _find(item, name)) is not None:
            return found
    return None


def stage(node: Mapping[str, Any], spec: RunSpec) -> str:
    """What one execution of a stage does, in a sentence."""
    text = {"rollout": _rollout, "score": _score, "train": _train, "evaluate": _evaluate}[str(node["kind"])](node, spec)
    return text + (f" Every {node['every']} iterations." if node.get("every", 1) != 1 else "")


def _rollout(node: Mapping[str, Any], spec: RunSpec) -> str:
    tasks = node["tasks"]
    group = node.get("group", 1)
    if isinstance(tasks, Mapping):
        mode = next((m for m in DERIVED if m in tasks), "follow")
        what = (f"{node['n']} " if node.get("n") else "") + "tasks, " + DERIVED[mode].format(tasks.get(mode))
    else:
        what = f"{node['n']} tasks from {tasks} ({_first(spec.sources.get(tasks))})"
    times = f", {group} times each" if group != 1 else ""
    strategy = node.get("strategy")
    how = f" {component(strategy)}: {_first(strategy)}." if strategy else ""
    return f"{_roles(node, spec)} answers {what}{times}.{how}"


def _roles(node: Mapping[str, Any], spec: RunSpec) -> str:
    said = []
    for name in dict.fromkeys(who(node).split(", ")):
        role = spec.roles.get(name)
        reads = f", reading {', '.join(role.memories)}" if role is not None and role.memories else ""
        if role is not None:
            heat = _number(role.temperature)
            name += f" (policy {role.policy}, temperature {heat}, at most {role.max_tokens} tokens{reads})"
        said.append(name)
    return " and ".join(said)


def _score(node: Mapping[str, Any], spec: RunSpec) -> str:
    parts = [f"{name} ({_first(part)})" for name, part in node["verifier"].items() if part is not None]
    learns = "".join(f" {name} learns from all of it." for name in node.get("update") or ())
    return f"the rows of {_join(node['of'])} are judged by {', then '.join(parts) or 'nothing'}.{learns}"


def _train(node: Mapping[str, Any], spec: RunSpec) -> str:
    optimizer = node["optimizer"]
    target = f"policy {node['policy']}" if node.get("policy") else f"memory {node.get('memory')}"
    rows = f"{_join(node['from'])}" + (f" where {_plain(node['where'])}" if node.get("where") else "")
    terms = [f"{name} ({component(t)}: {_first(t)})" for name, t in (optimizer.get("objective") or {}).items() if t is not None]
    said = _first(optimizer)
    by = f"by {' and '.join(terms)}" if terms else f"by {component(optimizer)}" + ("" if said == component(optimizer) else f": {said}")
    rate = f", learning rate {_number(optimizer['lr'])}" if "lr" in optimizer else ""
    promote = node.get("promote", "current" if node.get("policy") else None)
    moves = f"; the alias {_join(promote)} moves to it" if promote else "; no alias moves"
    return f"a new version of {target} is made from the rows of {rows}, {by}{rate}{moves}."


def _evaluate(node: Mapping[str, Any], spec: RunSpec) -> str:
    suite = node["suite"]
    samples = suite.get("samples", 1)
    n = f"{suite['n']} held-out tasks" if suite.get("n") else "all held-out tasks"
    if node.get("of"):
        return f"the answers in {_join(node['of'])} are measured as suite {suite.get('name')}."
    parts = ", then ".join(f"{k} ({_first(p)})" for k, p in (suite.get("verifier") or {}).items() if p is not None)
    return f"{who(node)} answers {n} of suite {suite.get('name')}, {samples} times each, judged by {parts}; nothing is learned."


def _sizes(spec: RunSpec) -> Iterator[str]:
    runs = dict.fromkeys(spec.stages, 0)
    _count(spec.loop, 1, spec, runs)
    for kind, word in (("rollout", "rollouts"), ("evaluate", "evaluations")):
        counted = [(name, n) for name, n in runs.items() if spec.stages[name]["kind"] == kind and not spec.stages[name].get("of")]
        known = [(name, n, found) for name, n in counted if (found := episodes(spec.stages[name], spec)) is not None]
        total = sum(n * found for _, n, found in known)
        tokens = sum(n * found * _longest(spec.stages[name], spec) for name, n, found in known)
        open_ = [name for name, _ in counted if name not in {k for k, _, _ in known}]
        if total:
            beside = f", beside those of {', '.join(open_)}, whose number the rows decide" if open_ else ""
            yield f"In all at most {total:,} episodes in {word}, {tokens:,} tokens where each is one reply of full length{beside}."


def _count(block: Block, times: int, spec: RunSpec, runs: dict[str, int]) -> None:
    limit = block.limit
    for item in block.do:
        if isinstance(item, Block):
            _count(item, times * math.ceil(limit / item.every), spec, runs)
        else:
            runs[item] += times * math.ceil(limit / spec.stages[item].get("every", 1))


def episodes(node: Mapping[str, Any], spec: RunSpec, depth: int = 0) -> int | None:
    """Episodes of one execution, or None where the rows of another table decide."""
    if node["kind"] == "evaluate":
        suite = node["suite"]
        return int(suite["n"]) * int(suite.get("samples", 1)) if suite.get("n") else None
    n = node.get("n")
    tasks = node["tasks"]
    if n is None and isinstance(tasks, Mapping) and depth < 8:
        mode = next((m for m in ("follow", "continue", "again") if m in tasks), None)
        n = None if mode is None or tasks.get("where") else _rows(str(tasks[mode]), spec, depth + 1)
    if n is None:
        return None
    return int(n) * int(node.get("group", 1)) * math.prod(len(v) for v in (node.get("bind") or {}).values())


def _rows(table: str, spec: RunSpec, depth: int) -> int | None:
    node = spec.stages.get(table.partition("@")[0].rpartition("/")[2])
    if node is None or depth > 8:
        return None
    if node["kind"] == "score":
        of = node["of"] if isinstance(node["of"], str) else node["of"][0] if len(node["of"]) == 1 else None
        return None if of is None or node.get("where") else _rows(of, spec, depth + 1)
    return episodes(node, spec, depth + 1) if node["kind"] == "rollout" else None


def _longest(node: Mapping[str, Any], spec: RunSpec) -> int:
    limit = (node.get("suite") or {}).get("max_tokens")
    return int(limit or max((spec.roles[name].max_tokens for name in who(node).split(", ") if name in spec.roles), default=0))


def _first(node: Any) -> str:
    """What a component says of itself: the first sentence of its docstring, as part of a sentence."""
    if not isinstance(node, Mapping) or "_target_" not in node:
        return "" if node is None else str(source(node))
    said = " ".join((locate(node["_target_"]).__doc__ or "").split("\n\n")[0].split())
    said = re.split(r"(?<=[^.])(?<!\bet al)\.(?:\s|$)|: (?=\w+ = )", said, maxsplit=1)[0]
    if len(said) > LONGEST:
        said = re.split(r" \(|[:;,] ", said, maxsplit=1)[0]
    if len(said) > LONGEST or said.startswith(("[", "{")) or said.count("(") != said.count(")"):
        return component(node)
    return said or component(node)


def _number(value: Any) -> str:
    if isinstance(value, Mapping):
        return _plain(value)
    if isinstance(value, (int, float)):
        return f"{value:g}"
    text = getattr(value, "text", None)
    return str(text if text is not None else value)


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items())
    if isinstance(value, (list, tuple)):
        return " to ".join(map(_plain, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def _join(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
