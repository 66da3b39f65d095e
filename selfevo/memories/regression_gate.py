"""GRASP's gate: fixes less regressions on a balanced probe, held against the present library's own run of it, within a hard budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Row, Version
from .memory import Memory
from .paired import version_id, versions_in
from .stateless import Stateless


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one version's probe: failing tasks now solved, passing ones now missed, and how many of these had no valid answer."""

    fixes: int
    regressions: int
    invalid: int


class RegressionGate(Stateless):
    """Adopts the candidate with the largest adjusted score (GRASP: "Gated Regression-Aware Skill Proposer", 2026, arXiv:2605.29668):

        adjusted = (f - f0) - (g - g0) - c u,        accepted iff adjusted > 0 and g <= g0

    f: probe tasks that failed when they were first met and are solved now, g: those that passed and are missed now, u: those of g
    without a valid answer; f0 and g0 the same under `against`. The first of equals wins. A candidate like `against` has adjusted 0
    and is rejected. A task without a reward under `against` counts for no candidate, but into g0 if it passed; one that only lacks a
    reward under a candidate is a regression if it passed. Each task's first status is its variable `probe` (see `curricula.ProbeSet`).

    Args:
        reward: reward that tells solved (at least 0.5) from missed.
        valid: reward below 0.5 where a reply has no valid answer; None: u is 0.
        penalty: lambda. form: the method document takes c = lambda, the released code c = lambda - 1.
        budget: False leaves out the condition g <= g0. score: "fixes" takes f - f0 alone (both are ablations of the paper).
        against: version that candidates are held against.
    """

    def __init__(
        self,
        reward: str = "score",
        valid: str | None = None,
        penalty: float = 2.0,
        form: Literal["document", "code"] = "document",
        budget: bool = True,
        score: Literal["adjusted", "fixes"] = "adjusted",
        against: str = "current",
    ):
        if form not in ("document", "code") or score not in ("adjusted", "fixes"):
            raise UserError(f"RegressionGate: form is '{form}' and score '{score}'; expected document or code, and adjusted or fixes")
        self.reward, self.valid, self.budget, self.score, self.against = reward, valid, budget, score, against
        self.extra = penalty if form == "document" else penalty - 1

    def update(self, target: Memory, rows: Sequence[Row], ctx: RunCtx) -> Version | None:
        """The candidate to promote, or None. Raises UserError when the probe did not run under `against`."""
        base = target.resolve(self.against).id
        by_version = {v: [r for r in rows if version_id(r.trajectory.memories[target.name]) == v] for v in versions_in(rows, target.name)}
        candidates = [v for v in by_version if v != base]
        ctx.log("gate/candidates", len(candidates))
        if not candidates:
            return None
        if base not in by_version:
            raise UserError(f"memory '{target.name}': the probe has no rows under {self.against} ({base}), only {', '.join(by_version)}")
        broken = {_key(r) for r in by_version[base] if r.reward(self.reward) is None}
        before = self.count(by_version[base])
        results = []
        for version in candidates:
            after = self.count([r for r in by_version[version] if _key(r) not in broken])
            ok = self.adjusted(before, after) > 0 and (not self.budget or after.regressions <= before.regressions)
            results.append((ok, self.adjusted(before, after), version, after))
        ok, adjusted, version, after = max(results, key=lambda r: r[:2])  # the first of equals
        numbers = {"adopted": ok, "adjusted": adjusted, "fixes": after.fixes, "regressions": after.regressions, "invalid": after.invalid}
        for name, value in {**numbers, "fixes0": before.fixes, "regressions0": before.regressions, "probe": len(by_version[base])}.items():
            ctx.log(f"gate/{name}", float(value))
        return target.resolve(version) if ok else None

    def adjusted(self, before: Counts, after: Counts) -> float:
        """A candidate's score against the baseline's counts."""
        fixed = after.fixes - before.fixes
        return fixed if self.score == "fixes" else fixed - (after.regressions - before.regressions) - self.extra * after.invalid

    def count(self, rows: Sequence[Row]) -> Counts:
        """Fixes, regressions and invalid regressions of one version's rows; a row without a reward is not solved."""
        solved = [(r, (r.reward(self.reward) or 0.0) >= 0.5) for r in rows]
        lost = [r for r, ok in solved if not ok and _stored(r) == "passing"]
        invalid = 0 if self.valid is None else sum((r.reward(self.valid) or 0.0) < 0.5 for r in lost)
        return Counts(sum(ok and _stored(r) == "failing" for r, ok in solved), len(lost), invalid)


def _key(row: Row) -> tuple[str, str]:
    return row.trajectory.task.id, row.trajectory.keys.get("sample", "")


def _stored(row: Row) -> str:
    stored = row.trajectory.task.vars.get("probe")
    if stored not in ("passing", "failing"):
        raise UserError(f"RegressionGate: task {row.trajectory.task.id} does not say how it was first met: draw it from curricula.ProbeSet")
    return str(stored)
