"""What a stage returns, and what every stage looks like to the run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from ..context import StageCtx
from ..records import Row, Sample, Version


@dataclass
class Outcome:
    """The result of one execution, for the run to commit.

    `table` says what is written: "rows" (trajectories; with scores when `judged`), "scores" (of trajectories in other tables) or "samples".
    `rows` is what references to this stage read. `versions` were made, `promotions` {name: {alias: id}} move aliases, `touched` names
    the stateful parts to save.
    """

    table: Literal["rows", "scores", "samples", ""] = ""
    rows: Sequence[Row] = ()
    judged: bool = False
    samples: Sequence[Sample] = ()
    versions: Sequence[Version] = ()
    promotions: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    touched: Sequence[str] = ()
    tokens: int = 0


class Stage(Protocol):
    """A stage's constructor is its schema in the spec; `every` runs it on the last of each k iterations of its block."""

    kind: str
    every: int

    def run(self, ctx: StageCtx) -> Outcome:
        """Do the work of one execution; metrics go through `ctx.log`."""
