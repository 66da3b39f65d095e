"""Everything that is said of some runs side by side, as numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError, nearest
from .find import Found, find
from .measured import DRAWS, Evaluation, evaluations
from .paired import Difference, difference
from .settings import differences, spec_differences
from .speed import AtCost, Spent, at_cost, budget, curve, spent

AXES = ("tokens", "seconds")


@dataclass(frozen=True)
class Speed:
    """One suite's learning speed: `budgets` by axis, `at` per run and axis (None for a run that never measured the suite)."""

    suite: str
    budgets: dict[str, float]
    at: list[dict[str, AtCost] | None]


@dataclass(frozen=True)
class Against:
    """Paired differences of every run to run number `baseline` on one suite (None: no task in common, or the baseline itself)."""

    suite: str
    baseline: int
    by_run: list[Difference | None]


@dataclass(frozen=True)
class Comparison:
    """Lists hold one entry per run, in the order of `runs`. `settings` is what a table shows of `spec`: see `settings.differences`."""

    runs: list[Found]
    settings: dict[str, list[str]]
    spec: dict[str, list[str]]
    evaluations: list[dict[str, Evaluation]]
    speeds: list[Speed]
    costs: list[Spent | None]
    against: list[Against]

    @property
    def suites(self) -> list[str]:
        """Every suite that some run was measured on, in order of first appearance."""
        return list(dict.fromkeys(suite for mine in self.evaluations for suite in mine))


def compare(folders: Sequence[Path], baseline: Path | None = None) -> Comparison:
    """Read and compare every run in the folders. With two runs the second is compared with the first, with `baseline` all with that.

    Raises UserError for folders without runs, StoreError for files that are corrupt.
    """
    runs = find([*folders, *([baseline] if baseline is not None else [])])
    base = _baseline(runs, baseline)
    measured = [evaluations(found.run) if found.run is not None else {} for found in runs]
    suites = dict.fromkeys(suite for mine in measured for suite in mine)
    return Comparison(
        runs=runs, settings=differences(runs), spec=spec_differences(runs), evaluations=measured,
        speeds=[_speed(runs, measured, suite) for suite in suites],
        costs=[spent(found.run) if found.run is not None else None for found in runs],
        against=[_against(runs, measured, suite, base) for suite in suites] if base is not None else [],
    )  # fmt: skip


def _baseline(runs: Sequence[Found], baseline: Path | None) -> int | None:
    if baseline is None:
        return 0 if len(runs) == 2 else None
    for number, found in enumerate(runs):
        if found.root.resolve() == baseline.resolve():
            return number
    raise UserError(f"--baseline {baseline}: not a run directory{nearest(str(baseline), [str(f.root) for f in runs])}")


def _speed(runs: Sequence[Found], measured: Sequence[dict[str, Evaluation]], suite: str) -> Speed:
    """The budget is the least that a finished run spent (any run where none is finished): a run that broke off sets no limit."""
    metric = f"eval/{suite}/pass@1"
    curves = [curve(f.run, metric) if f.run is not None and suite in mine else [] for f, mine in zip(runs, measured, strict=True)]
    whole = [c for c, found in zip(curves, runs, strict=True) if found.status == "done"]
    budgets = {axis: budget(whole if any(len(c) > 1 for c in whole) else curves, axis) for axis in AXES}
    return Speed(suite, budgets, [{axis: at_cost(c, budgets[axis], axis) for axis in AXES} if c else None for c in curves])


def _against(runs: Sequence[Found], measured: Sequence[dict[str, Evaluation]], suite: str, base: int) -> Against:
    ours = measured[base][suite].solved if suite in measured[base] else {}
    out = []
    for number in range(len(runs)):
        theirs = measured[number][suite].solved if suite in measured[number] else {}
        out.append(None if number == base else difference(theirs, ours, DRAWS, suite))
    return Against(suite, base, out)
