"""The loop as a small picture in text: blocks as a tree, each stage with what it reads, who acts, and what comes out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """`guide`: the branch drawn before it; `name`: a block's or stage's; `kind`: "block", or the stage's; `flow`: parts, in order;
    `note`: sizes and conditions."""

    guide: str
    name: str
    kind: str
    flow: tuple[str, ...] = ()
    note: str = ""


def lines(spec: Mapping[str, Any], ascii_only: bool = False) -> list[Line]:
    """Every block and stage of a resolved spec, in the order they run."""
    kept = {name: block for name, block in (spec.get("loop") or {}).items() if block is not None}  # null takes a block out
    return list(_below(kept, spec, "", ascii_only))


def _below(node: Any, spec: Mapping[str, Any], indent: str, plain: bool) -> Iterator[Line]:
    items = list(_items(node))
    mid, end, bar = ("|- ", "`- ", "|  ") if plain else ("├─ ", "└─ ", "│  ")
    for i, (name, block) in enumerate(items):
        last = i == len(items) - 1
        if block is None:
            yield stage(name, (spec.get("stages") or {}).get(name) or {}, indent + (end if last else mid))
        else:
            yield Line(indent + (end if last else mid), name, "block", note=_often(block))
            yield from _below(block.get("do"), spec, indent + ("   " if last else bar), plain)


def _items(node: Any) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """Names in order; None for a stage."""
    if isinstance(node, Mapping):
        for name, block in node.items():
            if isinstance(block, Mapping):
                yield str(name), block
            elif block is None and node.get("do") is None:
                yield str(name), None
    for item in node if isinstance(node, list) else ():
        if isinstance(item, Mapping):
            yield from _items(item)
        else:
            yield str(item), None


def _often(block: Mapping[str, Any]) -> str:
    said = []
    if block.get("repeat") is not None:
        said.append(f"{block['repeat']} times")
    if block.get("until") is not None:
        said.append(f"until {condition(block['until'])}, at most {block.get('max')} times")
    if block.get("each") is not None:
        said.append(f"for each of {', '.join(map(str, block['each']))}")
    if block.get("every") is not None:
        said.append(f"every {block['every']}")
    if block.get("fork"):
        said.append(f"on copies of {_list(block['fork'])}" + ("" if block.get("adopt") else ", dropped at the end"))
    ahead = [f"{name} runs {n} ahead" for name, n in (block.get("ahead") or {}).items() if n]
    return "; ".join(said or ["once"]) + ("".join(f"; {text}" for text in ahead))


def condition(until: Mapping[str, Any]) -> str:
    """An `until` in words."""
    if "rows" in until:
        return f"{until.get('at_least')} rows of {until['rows']} match"
    bounds = [f"{word} {until[key]}" for key, word in (("at_least", "at least"), ("at_most", "at most")) if until.get(key) is not None]
    return f"{until.get('metric')} is {' and '.join(bounds)}"


def stage(name: str, node: Mapping[str, Any], guide: str = "") -> Line:
    """One stage's line."""
    kind = str(node.get("kind", "?"))
    flow, note = _KINDS.get(kind, _unknown)(node)
    if node.get("every", 1) != 1:
        note = f"{note}, every {node['every']}".lstrip(", ")
    return Line(guide, name, kind, tuple(p for p in flow if p), note)


def _rollout(node: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    sizes = [f"{node['n']} tasks" if node.get("n") is not None else "", f"{node['group']} each" if node.get("group", 1) != 1 else ""]
    bind = [f"{memory}: {_list(versions)}" for memory, versions in (node.get("bind") or {}).items()]
    note = " x ".join(filter(None, sizes)) + "".join(f" ({text})" for text in bind)
    return (source(node.get("tasks")), who(node), component(node.get("strategy")) or "Single"), note


def _score(node: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    parts = [name for name, part in (node.get("verifier") or {}).items() if part is not None]
    learns = _list(node.get("update") or ())
    return (_list(node.get("of")), " + ".join(parts), f"updates {learns}" if learns else ""), ""


def _train(node: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    target = node.get("policy") or node.get("memory")
    weights = node.get("policy") is not None
    promote = node.get("promote", "current" if weights else "")
    made = f"{target}@{_list(promote)}" if promote else f"new version of {target}"
    return (_list(node.get("from")), objective(node.get("optimizer") or {}), made), "weights" if weights else "text"


def _evaluate(node: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    suite = node.get("suite") or {}
    flow = (str(suite.get("name", "a suite")), who(node) or _list(node.get("of")), "metrics")
    return flow, f"{suite.get('n') or 'all'} tasks x {suite.get('samples', 1)}"


def _unknown(node: Mapping[str, Any]) -> tuple[Sequence[str], str]:
    return (), ""


_KINDS = {"rollout": _rollout, "score": _score, "train": _train, "evaluate": _evaluate}


def objective(optimizer: Mapping[str, Any]) -> str:
    """An optimizer's terms, or its class."""
    terms = [str(name) for name, term in (optimizer.get("objective") or {}).items() if term is not None]
    return component(optimizer) + (f"({' + '.join(terms)})" if terms else "")


def component(node: Any) -> str:
    """A component's class name."""
    return str(node["_target_"]).rpartition(".")[2] if isinstance(node, Mapping) and "_target_" in node else ""


def source(tasks: Any) -> str:
    """Where a rollout's tasks come from."""
    if not isinstance(tasks, Mapping):
        return str(tasks)
    mode = next((m for m in ("follow", "continue", "suite", "gather", "compare", "again") if m in tasks), "")
    return f"{mode} {tasks.get(mode)}"


def who(node: Mapping[str, Any]) -> str:
    """The role or roles that act."""
    if node.get("seats"):
        return ", ".join(dict.fromkeys(str(role) for role in node["seats"].values() if role is not None))
    return str(node["role"]) if node.get("role") else ""


def _list(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value or "")
