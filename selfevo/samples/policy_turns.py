"""A whole trajectory as one training row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample, Turn
from .common import count_dropped, keys_of, row_temperature, starts, usable, within

SOURCES = ("policy", "tool", "env", "teacher", "judge", "data")


class PolicyTurns:
    """One sample per trajectory: the context of its first policy turn, then every id up to the end of its last one.

    Ids of other sources in between are part of the response but masked out, so that no loss or count sees them. Columns:
    `mask` [T], `temperature` (number), and `logp:sampler` [T] (0 where masked) unless a trained turn came without log-probs.
    `steps` are the trajectory's spans in positions of the response. Rows that broke, that a filter took out (`keep` False), that lack
    `reward`, or that hold no trained token are dropped and counted in the metric "train/dropped".

    Args:
        reward: reward a row must have; None asks for none (supervised fits).
        prefix: "train" on the tokens shared with a parent trajectory as well, or "mask" them (a resumed task's old turns).
        sources: sources that are trained on. A foreign turn is read after the role's own prompt when it recorded no context.
    """

    def __init__(self, reward: str | None = "score", prefix: Literal["train", "mask"] = "train", sources: Sequence[str] = ("policy",)):
        if prefix not in ("train", "mask"):
            raise UserError(f"samples.PolicyTurns: prefix must be 'train' or 'mask', got {prefix!r}")
        for source in sources:
            if source not in SOURCES:
                raise UserError(f"samples.PolicyTurns: unknown source {source!r} (valid: {', '.join(SOURCES)})")
        self.reward, self.prefix, self.sources = reward, prefix, tuple(sources)

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the order of their rows. Raises UserError when one trajectory mixes temperatures."""
        samples = [s for i, row in enumerate(rows) if usable(row, self.reward) and (s := self._sample(i, row, ctx)) is not None]
        count_dropped(rows, len(samples), ctx)
        return samples

    def _sample(self, index: int, row: Row, ctx: RunCtx) -> Sample | None:
        t = row.trajectory
        placed = [(at, turn) for at, turn in starts(t.turns) if turn.tokens]
        trained = [(at, turn) for at, turn in placed if turn.source in self.sources]
        if not trained:
            return None
        start, first = trained[0]
        end = trained[-1][0] + len(trained[-1][1].tokens)
        mask, logps = self._mask_and_logps([p for p in placed if start <= p[0] < end], t.prefix if self.prefix == "mask" else 0)
        if not any(mask):
            return None
        context = first.context or (*ctx.open(t.role, t.task), *(i for at, turn in placed if at < start for i in turn.tokens))
        columns: dict[str, Column] = {"mask": mask, "temperature": self._temperature(row, trained)}
        if logps is not None:
            columns["logp:sampler"] = logps
        response = tuple(i for at, turn in placed if start <= at < end for i in turn.tokens)
        steps = within(t.spans(), start, end)
        return Sample(t.id, response, {"train": tuple(context)}, columns, keys_of(row), steps, row=index)

    def _mask_and_logps(self, placed: Sequence[tuple[int, Turn]], skip: int) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Mask and behaviour log-probs over the response; positions before `skip` (in the trajectory) are masked."""
        mask: list[float] = []
        logps: list[float] | None = []
        for at, turn in placed:
            on = [1.0 if turn.source in self.sources and at + k >= skip else 0.0 for k in range(len(turn.tokens))]
            mask += on
            if turn.logprobs is None and any(on):
                logps = None
            if logps is not None:
                logps += [lp if m else 0.0 for m, lp in zip(on, turn.logprobs or on, strict=True)]
        return tuple(mask), None if logps is None else tuple(logps)

    def _temperature(self, row: Row, trained: Sequence[tuple[int, Turn]]) -> float:
        found = {row_temperature(turn.temperature) for _, turn in trained}
        if len(found) > 1:
            raise UserError(
                f"samples.PolicyTurns: trajectory {row.trajectory.id} was sampled at temperatures {sorted(found)}; "
                "one training row has one temperature: use selfevo.samples.EachTurn"
            )
        return found.pop()
