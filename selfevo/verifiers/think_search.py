"""How much of a protocol of thinking, searching and answering a reply shows."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from ..protocols import RunCtx
from ..records import Row

THOUGHTS = {1: 0.2, 2: 0.3, 3: 0.4, 4: 0.6, 5: 0.8, 6: 1.0, 7: 0.0, 8: 0.0}


class ThinkSearch:
    """Format reward of EvolveR (2025, arXiv:2510.16079, released code), 0 unless the reply has a thought, a search and an answer:

        (think + search) / 2, think by the number of <think> sections: 0.2, 0.3, 0.4, 0.6, 0.8, 1, then 0 for 7 and 8, 0.5 for more;
        search = (0.5 where both kinds are used, 0.2 for one) + min(0.1 (number of searches - 1), 0.5).

    The hole at 7 and 8 is the code's. Sections count with three characters or more, outer white space aside.

    Args:
        hole: False gives 7 and 8 thoughts 0.5, as it gives more.
    """

    scope: Literal["row", "group", "batch"] = "row"

    def __init__(self, hole: bool = True):
        self.hole = hole

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """Rows with the reward under `ctx.name`. Only what the policy wrote is looked at."""
        return [row.rewarded(ctx.name, self.of("".join(t.text for t in row.trajectory.turns if t.source == "policy"))) for row in rows]

    def of(self, text: str) -> float:
        """The reward of a reply's text."""
        thoughts, answers, experience, knowledge = (_count(text, t) for t in ("think", "answer", "search_experience", "search_knowledge"))
        searches = experience + knowledge
        if not (thoughts and answers and searches):
            return 0.0
        think = THOUGHTS.get(thoughts, 0.5) if self.hole or thoughts < 7 else 0.5
        return (think + (0.5 if experience and knowledge else 0.2) + min(0.1 * (searches - 1), 0.5)) / 2


def _count(text: str, tag: str) -> int:
    return sum(len(section.strip()) >= 3 for section in re.findall(rf"<{tag}>(.*?)</{tag}>", text, re.DOTALL))
