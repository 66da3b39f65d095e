"""AdoptWithinBudget: a candidate version is adopted only if it gains enough and breaks little that worked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Row, Version
from .memory import Memory
from .paired import Paired, paired, versions_in
from .stateless import Stateless


class AdoptWithinBudget(Stateless):
    """Regression-aware gate for text (after GRASP, arXiv 2605.29668): among candidates, the one with the largest mean gain is taken if

        mean gain > min_gain,  losses (+ new errors) <= max_losses,  p <= max_p.

    Rows come from a paired probe: the same tasks and draws under the memory's `current` version and under one or more candidates
    (`bind: {skills: [current, propose]}`, `seed_by: [task]`). The rows of rejected candidates change nothing; a candidate equal to
    `current` gains exactly 0 and is rejected. GRASP itself compares with outcomes stored at an earlier run, not with a paired one.

    reward: the reward compared; min_gain: mean gain per pair that must be exceeded.
    max_losses: how many pairs may get worse; None: any number. max_p: largest one-sided sign-test p; None: not asked.
    errors: a pair judged under `current` but not under the candidate counts as a loss ("loss") or not at all ("drop").
    """

    def __init__(
        self,
        reward: str = "score",
        min_gain: Number = 0.0,
        max_losses: Number | None = 0,
        max_p: Number | None = None,
        errors: Literal["loss", "drop"] = "loss",
    ):
        if errors not in ("loss", "drop"):
            raise UserError(f"AdoptWithinBudget: errors is '{errors}'; expected 'loss' or 'drop'")
        self.reward, self.min_gain, self.max_losses, self.max_p, self.errors = reward, min_gain, max_losses, max_p, errors

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """The existing version to promote, or None. Raises UserError when the probe did not run under `current` too."""
        found = versions_in(rows, target.name)
        current = target.version.id
        candidates = [v for v in found if v != current]
        ctx.log("gate/candidates", len(candidates))
        if not candidates:
            return None
        if current not in found:
            there = ", ".join(found)
            raise UserError(f"memory '{target.name}': the probe has no rows under the current version {current} (it has {there})")
        results = [paired(rows, target.name, self.reward, current, candidate) for candidate in candidates]
        best = max(results, key=lambda r: (self._passes(r, ctx), r.mean_gain))  # the first of equals
        for name in ("wins", "losses", "ties", "errors", "dropped", "mean_gain", "p"):
            ctx.log(f"gate/{name}", float(getattr(best, name)))
        adopted = self._passes(best, ctx)
        ctx.log("gate/adopted", float(adopted))
        return target.resolve(best.after) if adopted else None

    def _passes(self, result: Paired, ctx: RunCtx) -> bool:
        losses = result.losses + (result.errors if self.errors == "loss" else 0)
        return (
            result.mean_gain > ctx.value(self.min_gain)
            and (self.max_losses is None or losses <= ctx.value(self.max_losses))
            and (self.max_p is None or result.p <= ctx.value(self.max_p))
        )
