"""Mixture: several curricula as one, in proportions that may vary over the run."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ..errors import UserError, nearest
from ..protocols import Curriculum, Number, RunCtx, Stateful
from ..records import Row, Task

REMEMBERED = 100_000
"""How many of the last tasks handed out are remembered with the curriculum they came from."""


class Mixture:
    """Each draw takes a curriculum by weight; each curriculum learns from the rows of its own tasks only.

    curricula: name to curriculum.
    weights: name to its share (need not sum to 1; 0 switches one off); default: equal. A curriculum left out has weight 1.
    """

    def __init__(self, curricula: Mapping[str, Curriculum], weights: Mapping[str, Number] | None = None):
        if not curricula:
            raise UserError("Mixture: no curricula; expected at least one under `curricula`")
        for name in weights or {}:
            if name not in curricula:
                raise UserError(f"curriculum mixture: weight for unknown curriculum '{name}'{nearest(name, curricula)}")
        self.curricula = dict(curricula)
        self.weights: dict[str, Number] = {name: (weights or {}).get(name, 1.0) for name in curricula}
        self._owner: OrderedDict[str, str] = OrderedDict()  # task id to curriculum, the longest not handed out first

    def sample(self, n: int, ctx: RunCtx) -> list[Task]:
        """`n` tasks, in the order their curricula were drawn."""
        shares = {name: ctx.value(weight) for name, weight in self.weights.items()}
        if min(shares.values()) < 0 or sum(shares.values()) <= 0:
            raise UserError(f"curriculum mixture: weights are {shares}; expected none below 0 and at least one above")
        order = ctx.rng("mixture", ctx.name).choices(list(shares), list(shares.values()), k=n)
        drawn = {name: iter(c.sample(order.count(name), _Named.of(ctx, name))) for name, c in self.curricula.items() if name in order}
        tasks = []
        for name in order:
            task = next(drawn[name])
            self._owner[task.id] = name
            self._owner.move_to_end(task.id)
            tasks.append(task)
        while len(self._owner) > REMEMBERED:
            self._owner.popitem(last=False)
        return tasks

    def update(self, rows: Sequence[Row], ctx: RunCtx) -> None:
        """Hand each row to the curriculum that gave its task; rows of other tasks are counted. Metrics: "curriculum/<name>/..."."""
        mine: dict[str, list[Row]] = {name: [] for name in self.curricula}
        foreign = 0
        for row in rows:
            owner = self._owner.get(row.trajectory.task.id)
            if owner is None:
                foreign += 1
            else:
                mine[owner].append(row)
        for name, own in mine.items():
            ctx.log(f"curriculum/{name}/share", len(own) / len(rows) if rows else 0.0)
            if own:
                self.curricula[name].update(own, _Named.of(ctx, name))
        if foreign:
            ctx.log("curriculum/foreign", foreign)

    def state_dict(self) -> dict[str, Any]:
        """States of the curricula that have one, and which gave which task."""
        return {"curricula": {name: c.state_dict() for name, c in self._stateful.items()}, "owner": dict(self._owner)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises ValueError when the curricula are not the same ones."""
        if set(state) != {"curricula", "owner"} or set(state["curricula"]) != set(self._stateful):
            raise ValueError(f"not a state of a mixture of {sorted(self._stateful)}: {sorted(state.get('curricula', state))}")
        for name, own in state["curricula"].items():
            self._stateful[name].load_state_dict(own)
        self._owner = OrderedDict(state["owner"])

    @property
    def _stateful(self) -> dict[str, Stateful]:
        return {name: c for name, c in self.curricula.items() if isinstance(c, Stateful)}


class _Named:
    """A context under a longer name: its own random streams, and metrics kept apart from those of the other curricula."""

    def __init__(self, ctx: RunCtx, part: str):
        self._ctx, self._part, self.name = ctx, part, f"{ctx.name}/{part}"

    @classmethod
    def of(cls, ctx: RunCtx, part: str) -> RunCtx:
        return cast(RunCtx, cls(ctx, part))

    def log(self, name: str, value: float) -> None:
        """Log "curriculum/level" as "curriculum/<part>/level"."""
        group, _, rest = name.partition("/")
        self._ctx.log(f"{group}/{self._part}/{rest}", value)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)
