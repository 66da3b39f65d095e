"""PairedGate: what a new version of a memory changed, task by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError, nearest
from ..memories.paired import pair_up, paired, version_id, versions_in
from ..protocols import RunCtx
from ..records import Row


class PairedGate:
    """Reward gain of every row over the same task and draw under the baseline version of a memory.

    Gain is r - r_baseline; a baseline row's own gain is 0. The baseline is the version the first row read, the first in the probe's
    `bind`. Where either side has no reward the part abstains. `info` carries the row's outcome (win, loss, tie) and its
    candidate's wins, losses, ties, mean gain and sign-test p; metrics carry the same as "gate/wins" and so on ("gate/2/wins" for the
    second of several candidates).

    Args:
        memory: the memory whose versions are compared.
        reward: the reward compared, given by a part before this one.
    """

    scope: Literal["batch"] = "batch"
    judges = False
    """`score` stays the reward of the last part that judges answers, which is what an adoption rule compares."""

    def __init__(self, memory: str, reward: str):
        self.memory, self.reward = memory, reward

    def __call__(self, rows: Sequence[Row], ctx: RunCtx) -> list[Row]:
        """The rows, in order, with their gain under `ctx.name`. Raises UserError when the rows are not a paired probe."""
        known = {name for row in rows for name in row.score.statuses}
        if rows and self.reward not in known:
            raise UserError(f"verifier.{ctx.name}: no part before it gives the reward '{self.reward}'{nearest(self.reward, known)}")
        found = versions_in(rows, self.memory)
        if not found:
            return []
        baseline, candidates = found[0], found[1:]
        own = [row.trajectory for row in rows if row.reward(self.reward) is not None]
        gains = {t.id: 0.0 for t in own if version_id(t.memories[self.memory]) == baseline}
        info: dict[str, dict[str, str]] = {}
        for number, candidate in enumerate(candidates, 1):
            prefix = "gate" if len(candidates) == 1 else f"gate/{number}"
            result = paired(rows, self.memory, self.reward, baseline, candidate)
            facts = {"wins": result.wins, "losses": result.losses, "ties": result.ties, "mean_gain": result.mean_gain, "p": result.p}
            for name, value in facts.items():
                ctx.log(f"{prefix}/{name}", float(value))
            for old, new in pair_up(rows, self.memory, baseline, candidate):
                r_old, r_new = old.reward(self.reward), new.reward(self.reward)
                if r_old is not None and r_new is not None:
                    gain = r_new - r_old
                    gains[new.trajectory.id] = gain
                    info[new.trajectory.id] = {
                        f"{ctx.name}/outcome": "win" if gain > 0 else "loss" if gain < 0 else "tie",
                        **{f"{ctx.name}/{name}": f"{value:.6g}" for name, value in facts.items()},
                    }
        return [self._scored(row, gains.get(row.trajectory.id), info.get(row.trajectory.id, {}), ctx.name) for row in rows]

    def _scored(self, row: Row, gain: float | None, info: dict[str, str], name: str) -> Row:
        if gain is None:
            return row.failed(name, "abstain", f"no reward '{self.reward}' on both sides of the pair")
        return row.rewarded(name, gain, info=info)
