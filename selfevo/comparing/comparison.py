"""Everything that is said of some runs side by side, as numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import UserError, nearest
from .arms import Arm, arms, seeds
from .find import Found, find
from .measured import DRAWS, Evaluation, evaluations
from .paired import Difference, difference
from .settings import differences, spec_differences
from .speed import AtCost, Point, Spent, at_cost, budget, curve, spent

AXES = ("tokens", "seconds")


@dataclass(frozen=True)
class Speed:
    """One suite's learning speed: `budgets` by axis, `at` per run and axis (None for a run that never measured the suite); `curves` of
    pass@1 per run, empty for such a run."""

    suite: str
    budgets: dict[str, float]
    at: list[dict[str, AtCost] | None]
    curves: list[list[Point]]


@dataclass(frozen=True)
class Against:
    """Paired differences on one suite. `baseline`: number of the arm that the others are held against.

    `partner`: of every run the run of the baseline with the same seed, else its first; None for runs of the baseline itself. `by_run`:
    the difference to the partner; where there is none `why` says why not. `by_arm`: the same over tasks, the samples of all seeds put
    together; None for the baseline and where no run has a difference.
    """

    suite: str
    baseline: int
    partner: list[int | None]
    by_run: list[Difference | None]
    why: list[str]
    by_arm: list[Difference | None]


@dataclass(frozen=True)
class Comparison:
    """Lists hold one entry per run, in the order of `runs`. `settings` is what a table shows of `spec`: see `settings.differences`.
    `room`: longest name of a run that heads a line of figures; longer ones become numbers, those of arms letters."""

    runs: list[Found]
    seeds: list[str]
    arms: list[Arm]
    settings: dict[str, list[str]]
    spec: dict[str, list[str]]
    evaluations: list[dict[str, Evaluation]]
    speeds: list[Speed]
    costs: list[Spent | None]
    against: list[Against]
    room: int = 12

    @property
    def suites(self) -> list[str]:
        """Every suite that some run was measured on, in order of first appearance."""
        return list(dict.fromkeys(suite for mine in self.evaluations for suite in mine))

    @property
    def seeded(self) -> bool:
        """Whether some arm has more than one run."""
        return len(self.arms) < len(self.runs)

    def arm_of(self, run: int) -> int:
        """The number of the arm that a run belongs to."""
        return next(i for i, arm in enumerate(self.arms) if run in arm.runs)


def compare(folders: Sequence[Path], baseline: Path | None = None) -> Comparison:
    """Read and compare every run in the folders. Differences are to the arm of `baseline`, else of the first run.

    Raises UserError for folders without runs, StoreError for files that are corrupt.
    """
    runs = find([*folders, *([baseline] if baseline is not None else [])])
    base = _baseline(runs, baseline)
    measured = [evaluations(found.run) if found.run is not None else {} for found in runs]
    suites = dict.fromkeys(suite for mine in measured for suite in mine)
    settings, spec, own = differences(runs), spec_differences(runs), seeds(runs)
    grouped = arms(runs, own, settings, spec)
    return Comparison(
        runs=runs, seeds=own, arms=grouped, settings=settings, spec=spec, evaluations=measured,
        speeds=[_speed(runs, measured, suite) for suite in suites],
        costs=[spent(found.run) if found.run is not None else None for found in runs],
        against=[_against(grouped, own, measured, suite, base) for suite in suites] if len(grouped) > 1 else [],
    )  # fmt: skip


def _baseline(runs: Sequence[Found], baseline: Path | None) -> int:
    if baseline is None:
        return 0
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
    return Speed(suite, budgets, [{axis: at_cost(c, budgets[axis], axis) for axis in AXES} if c else None for c in curves], curves)


def _against(
    grouped: Sequence[Arm], own: Sequence[str], measured: Sequence[dict[str, Evaluation]], suite: str, base: int
) -> Against:
    number = next(i for i, arm in enumerate(grouped) if base in arm.runs)
    # the named run itself first: whoever has no partner of its seed is held against it
    with_suite = [r for r in (base, *(r for r in grouped[number].runs if r != base)) if suite in measured[r]]
    by_seed = {own[r]: r for r in reversed(with_suite)}
    partner: list[int | None] = [None] * len(own)
    by_run: list[Difference | None] = [None] * len(own)
    why = [""] * len(own)
    for run in (r for i, arm in enumerate(grouped) if i != number for r in arm.runs):
        to = partner[run] = by_seed.get(own[run], with_suite[0] if with_suite else base)
        why[run] = _why_not(measured[run].get(suite), measured[to].get(suite), suite)
        if not why[run]:
            by_run[run] = difference(measured[run][suite].solved, measured[to][suite].solved, DRAWS, suite)
    found = Against(suite, number, partner, by_run, why, [])
    for arm in grouped:
        if len(arm.runs) == 1:
            found.by_arm.append(by_run[arm.runs[0]])
            continue
        ours, theirs = pooled(arm, found, measured)
        whole = difference(ours, theirs, DRAWS, suite) if ours else None
        found.by_arm.append(whole and replace(whole, alone=sum(d.alone for run in arm.runs if (d := by_run[run]) is not None)))
    return found


Counts = dict[str, tuple[int, int]]


def pooled(arm: Arm, against: Against, measured: Sequence[Mapping[str, Evaluation]]) -> tuple[Counts, Counts]:
    """{task: (samples solved, samples)} of an arm's runs and of their partners, put together, over the tasks that both of a pair have.
    Empty where no run of the arm has a difference."""
    ours: Counts = {}
    theirs: Counts = {}
    for run in arm.runs:
        to = against.partner[run]
        if against.by_run[run] is None or to is None:
            continue
        mine, his = measured[run][against.suite].solved, measured[to][against.suite].solved
        for counts, side in ((mine, ours), (his, theirs)):
            for task in mine.keys() & his.keys():
                right, samples = side.get(task, (0, 0))
                side[task] = (right + counts[task][0], samples + counts[task][1])
    return ours, theirs


def _why_not(mine: Evaluation | None, his: Evaluation | None, suite: str) -> str:
    """Why two evaluations cannot be held against each other task by task; empty where they can."""
    if mine is None:
        return f"it was not measured on {suite}"
    if his is None:
        return f"the baseline was not measured on {suite}"
    if mine.judged != his.judged:
        (a, x), (b, y) = mine.judged, his.judged
        return f"its answers are judged otherwise ({a} of at least {x:g}; the baseline's {b} of at least {y:g})"
    if not mine.solved or not his.solved:
        whose, gone = ("its", mine) if not mine.solved else ("the baseline's", his)
        return f"{whose} table of answers is gone ({gone.table})"
    if not mine.solved.keys() & his.solved.keys():
        return f"it has no held-out task in common with the baseline ({len(mine.solved)} and {len(his.solved)} tasks)"
    return ""
