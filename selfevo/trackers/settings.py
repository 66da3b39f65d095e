"""The settings of a spec as flat values, for the tables in which trackers compare runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

LEFT_OUT = ("paper", "reproduce", "prompts", "stages", "loop", "roles", "policies", "tracker", "launcher", "cluster", "memories")
"""Texts, where a run runs, and what repeats other keys: the `stages` hold the components of the groups."""


def hyperparameters(spec: Mapping[str, Any]) -> dict[str, float | str | bool]:
    """{dotted key: value} of the numbers, flags and words of a spec's groups; a list is its text, null is left out."""
    return dict(_leaves({k: v for k, v in spec.items() if k not in LEFT_OUT}, ""))


def _leaves(node: Any, path: str) -> Iterator[tuple[str, float | str | bool]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, (bool, int, float, str)):
        yield path, node
    elif isinstance(node, (list, tuple)):
        yield path, ", ".join(map(str, node))


def measures(spec: Mapping[str, Any]) -> list[str]:
    """Names of the metrics that runs are compared by: the spec's own, then pass@1 of every suite."""
    stages = spec.get("stages")
    nodes = stages.values() if isinstance(stages, Mapping) else ()
    suites = [n["suite"]["name"] for n in nodes if isinstance(n, Mapping) and isinstance(n.get("suite"), Mapping) and "name" in n["suite"]]
    named = [str(spec["metric"])] if spec.get("metric") else []
    return list(dict.fromkeys([*named, *(f"eval/{suite}/pass@1" for suite in suites)]))
