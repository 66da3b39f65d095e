"""Names of a run's metrics as trackers get them: those of metrics.jsonl, with the stage where several stages log one, as in the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

EVERY = (
    (("rollout",), r"rollout/(?!(reward|staleness)$).+"),
    (("rollout",), r"groups/.+"),
    (("score",), r"score/(rows|keep|score(_errors|_timeouts|_abstained)?)|rollout/reward"),
    (("train",), r"train/(rows|dropped|samples|skipped|loss|lr|grad_norm|steps|tokens)"),
    (("rollout", "evaluate"), r"time/generate"),
    (("score", "evaluate"), r"time/score"),
    (("score", "train"), r"time/io"),
    (("train",), r"time/train"),
)
"""What every stage of some kinds logs: of these metrics it is known beforehand whether several stages will."""


class Names:
    """Gives every curve a name of its own, so that no curve mixes two stages: "rollout/reward" or "rollout/reward (marks)".

    A metric that one stage logs keeps its name. What several stages log carries the stage, from the first line on where every stage
    of the kind logs it, else from the second stage that does on: the first one's curve then keeps the plain name.
    """

    def __init__(self, spec: Mapping[str, Any]):
        stages = spec.get("stages")
        nodes = {name: node for name, node in stages.items() if isinstance(node, Mapping)} if isinstance(stages, Mapping) else {}
        kinds = Counter(map(_kind, nodes.values()))
        self._several = [pattern for of, pattern in EVERY if sum(kinds.get(kind, 0) for kind in of) > 1]
        self._judges = {_of(node): name for name, node in nodes.items() if node.get("kind") == "score"}
        self._first: dict[str, str] = {}

    def counts(self, stage: str, judge: str) -> bool:
        """Whether a score stage is the last that judges a rollout stage: its word counts."""
        return self._judges.get(stage) == judge

    def scalars(self, line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
        """(name, value) of everything in a committed line."""
        stage = line["stage"]
        for metric, value in line["metrics"].items():
            first = self._first.setdefault(metric, stage)
            known = any(re.fullmatch(pattern, metric) for pattern in self._several)
            yield (f"{metric} ({stage})" if known or first != stage else metric), value


def _of(node: Mapping[str, Any]) -> str:
    """The stage whose trajectories a score stage judges ("rollout" of "rollout@-4..-1")."""
    return str(node.get("of")).partition("@")[0]


def _kind(node: Mapping[str, Any]) -> str:
    """rollout, score, evaluate, train (weights) or text."""
    kind = str(node.get("kind"))
    return "text" if kind == "train" and node.get("memory") is not None else kind
