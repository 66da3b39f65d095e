"""Before and after: does a second answer keep what was right and mend what was wrong?"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ..records import Row
from .episodes import attempts, by_task


class Transitions:
    """The table of first against final answers: Yang et al. 2024, "Confidence v.s. Critique" (arXiv:2412.19513); d_ic, d_ci and delta as
    in SCoRe (Kumar et al. 2024, arXiv:2409.12917).

    The first answer is hop 0, the second the final one, of each episode; an episode of one answer is compared with itself. Numbers:
    those of `decompose`; `d_ic` / `d_ci`: mean over tasks of the share of episodes that went from wrong to right / right to wrong;
    `delta` = acc2 - acc1 = d_ic - d_ci. Undefined ratios are nan.
    """

    def __call__(self, rows: Sequence[Row], solved: Callable[[Row], bool]) -> Mapping[str, float]:
        """The table of all tasks."""
        pairs = [[(e.right[0], e.right[-1]) for e in episodes] for episodes in by_task(attempts(rows, solved))]
        table = decompose([probabilities(p) for p in pairs])
        d_ic = _mean([sum(b and not a for a, b in p) / len(p) for p in pairs])
        d_ci = _mean([sum(a and not b for a, b in p) / len(p) for p in pairs])
        return {**table, "d_ic": d_ic, "d_ci": d_ci, "delta": table["acc2"] - table["acc1"]}


def probabilities(pairs: Sequence[tuple[bool, bool]]) -> tuple[float, float, float]:
    """(Pa, Pb, Pc) of one task from (first right, second right): P(first right), P(second right | first right) and
    P(second right | first wrong), the latter two 0 where their condition never held."""
    right, wrong = [b for a, b in pairs if a], [b for a, b in pairs if not a]
    return len(right) / len(pairs), sum(right) / len(right) if right else 0.0, sum(wrong) / len(wrong) if wrong else 0.0


def decompose(tasks: Sequence[tuple[float, float, float]]) -> dict[str, float]:
    """acc1, acc2, cl, cs, low, high and rss from (Pa, Pb, Pc) of each task, sampled or read off the probabilities of options.

    acc1 = mean Pa; acc2 = mean(Pa Pb + (1 - Pa) Pc); confidence level cl = sum Pa Pb / sum Pa; critique score
    cs = sum (1 - Pa) Pc / sum (1 - Pa). Exactly, acc2 = acc1 cl + (1 - acc1) cs. Between low = acc1^2 (cl = acc1, cs = 0) and
    high = 2 acc1 - acc1^2 (cl = 1, cs = acc1), rss = (acc2 - low) / (high - low) is 1/2 where acc2 = acc1. nan: cl where nothing was
    right at first, cs where nothing was wrong, rss in both cases.
    """
    n, kept = len(tasks), math.fsum(a * b for a, b, _ in tasks)
    right, wrong = math.fsum(a for a, _, _ in tasks), math.fsum(1 - a for a, _, _ in tasks)
    mended = math.fsum((1 - a) * c for a, _, c in tasks)
    acc1, acc2 = right / n if n else math.nan, (kept + mended) / n if n else math.nan
    low, high = acc1**2, 2 * acc1 - acc1**2
    return {
        "acc1": acc1,
        "acc2": acc2,
        "cl": kept / right if right else math.nan,
        "cs": mended / wrong if wrong else math.nan,
        "low": low,
        "high": high,
        "rss": (acc2 - low) / (high - low) if right and wrong else math.nan,
    }


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values) if values else math.nan
