"""Every policy turn as a training row of its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import behaviour, check_reward, check_temperature, count_dropped, keys_of, starts, temperature_of, usable, within


class EachTurn:
    """One sample per policy turn, under the context it was sampled in; the key `turn` counts them from 0.

    For trajectories whose turns do not form one growing context (a memory is rewritten, history is cut), or that mix
    temperatures. On a single-turn trajectory it equals `PolicyTurns` but for the sample's id and `turn` key. All samples of a row point
    to it, so advantages count the trajectory once. Rows are dropped as by `PolicyTurns`.

    Args:
        reward: reward a row must have; None asks for none.
        prefix: "train" on turns shared with a parent trajectory as well, or "mask" (leave out) those that lie within the prefix.
        temperature: as in `PolicyTurns`.
    """

    def __init__(self, reward: str | None = "score", prefix: Literal["train", "mask"] = "train", temperature: float | None = None):
        check_temperature(temperature, "samples.EachTurn")
        if prefix not in ("train", "mask"):
            raise UserError(f"samples.EachTurn: prefix must be 'train' or 'mask', got {prefix!r}")
        self.reward, self.prefix, self.temperature = reward, prefix, temperature

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the order of rows, then of turns."""
        check_reward(rows, self.reward, "samples.EachTurn")
        built = [self._samples(i, row) if usable(row, self.reward) else [] for i, row in enumerate(rows)]
        count_dropped(rows, sum(bool(b) for b in built), ctx)
        return [s for samples in built for s in samples]

    def _samples(self, index: int, row: Row) -> list[Sample]:
        t, samples, turn_number = row.trajectory, [], -1
        skip = t.prefix if self.prefix == "mask" else 0
        for at, turn in starts(t.turns):
            turn_number += turn.source == "policy"
            if turn.source != "policy" or not turn.tokens or at + len(turn.tokens) <= skip:
                continue
            mask = tuple(1.0 if at + k >= skip else 0.0 for k in range(len(turn.tokens)))
            temperature = temperature_of([turn], self.temperature, "samples.EachTurn")
            columns: dict[str, Column] = {"mask": mask, "temperature": temperature}
            if (drawn := behaviour(turn, temperature)) is not None:
                columns["logp:sampler"] = tuple(lp if m else 0.0 for m, lp in zip(mask, drawn, strict=True))
            steps = within(t.spans(), at, at + len(turn.tokens))
            keys = {**keys_of(row), "turn": str(turn_number)}
            samples.append(Sample(f"{t.id}/{turn_number}", turn.tokens, {"train": turn.context}, columns, keys, steps, row=index))
        return samples
