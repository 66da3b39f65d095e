"""A whole trajectory as one training row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample, Turn
from .common import behaviour, check_reward, check_temperature, count_dropped, keys_of, starts, temperature_of, usable, within

SOURCES = ("policy", "tool", "env", "teacher", "judge", "data")
RECORDED = ("data", "teacher")


class PolicyTurns:
    """One sample per trajectory: the context of its first policy turn, then every id up to the end of its last one.

    Ids of other sources in between are part of the response but masked out, so that no loss or count sees them. Columns:
    `mask` [T], `temperature` (number), and `logp:sampler` [T] (0 where masked) unless a trained turn came without log-probs.
    `steps` are the trajectory's spans in positions of the response. Rows that broke, that a filter took out (`keep` False), that lack
    `reward`, or that hold no trained token are dropped and counted in the metric "train/dropped".

    Args:
        reward: reward a row must have; None asks for none (supervised fits).
        prefix: "train" on the tokens shared with a parent trajectory as well, or "mask" them (a resumed task's old turns).
        sources: sources that are trained on. A foreign turn is read after the role's own prompt when it recorded no context. Where a
            trajectory holds none of them, whole recorded replies (data, teacher) take their place, so that datasets fit as they are.
        temperature: temperature the learner takes log-probs at; None for the one the row was sampled at, as a policy gradient needs.
            Fits of chosen rows (NLL, DPO) want 1. Where it differs from the sampling temperature, `logp:sampler` is left out.
    """

    def __init__(
        self,
        reward: str | None = "score",
        prefix: Literal["train", "mask"] = "train",
        sources: Sequence[str] = ("policy",),
        temperature: float | None = None,
    ):
        check_temperature(temperature, "samples.PolicyTurns")
        if prefix not in ("train", "mask"):
            raise UserError(f"samples.PolicyTurns: prefix must be 'train' or 'mask', got {prefix!r}")
        for source in sources:
            if source not in SOURCES:
                raise UserError(f"samples.PolicyTurns: unknown source {source!r} (valid: {', '.join(SOURCES)})")
        self.reward, self.prefix, self.sources, self.temperature = reward, prefix, tuple(sources), temperature

    def build(self, rows: Sequence[Row], ctx: RunCtx) -> list[Sample]:
        """Samples in the order of their rows. Raises UserError when one trajectory mixes temperatures."""
        check_reward(rows, self.reward, "samples.PolicyTurns")
        samples = [s for i, row in enumerate(rows) if usable(row, self.reward) and (s := self._sample(i, row, ctx)) is not None]
        count_dropped(rows, len(samples), ctx)
        return samples

    def _sample(self, index: int, row: Row, ctx: RunCtx) -> Sample | None:
        t = row.trajectory
        placed = [(at, turn) for at, turn in starts(t.turns) if turn.tokens]
        trained = [(at, turn) for at, turn in placed if turn.source in self.sources]
        if not trained:
            trained = [(at, turn) for at, turn in placed if turn.source in RECORDED and turn.context]
        if not trained:
            return None
        start, first = trained[0]
        end = trained[-1][0] + len(trained[-1][1].tokens)
        inside = [(at, turn) for at, turn in placed if start <= at < end]
        temperature = temperature_of([turn for _, turn in trained], self.temperature, f"samples.PolicyTurns: trajectory {t.id}")
        mask, logps = self._mask_and_logps(inside, {at for at, _ in trained}, t.prefix if self.prefix == "mask" else 0, temperature)
        if not any(mask):
            return None
        context = first.context
        if first.source != "policy" and not context:
            context = (*ctx.open(t.role, t.task), *(i for at, turn in placed if at < start for i in turn.tokens))
        columns: dict[str, Column] = {"mask": mask, "temperature": temperature}
        if logps is not None:
            columns["logp:sampler"] = logps
        response = tuple(i for _, turn in inside for i in turn.tokens)
        steps = within(t.spans(), start, end)
        return Sample(t.id, response, {"train": tuple(context)}, columns, keys_of(row), steps, row=index)

    def _mask_and_logps(
        self, placed: Sequence[tuple[int, Turn]], trained: set[int], skip: int, temperature: float
    ) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Mask and behaviour log-probs over the response; positions before `skip` (in the trajectory) are masked."""
        mask: list[float] = []
        logps: list[float] | None = []
        for at, turn in placed:
            on = [1.0 if at in trained and at + k >= skip else 0.0 for k in range(len(turn.tokens))]
            mask += on
            drawn = behaviour(turn, temperature)
            if drawn is None and any(on):
                logps = None
            if logps is not None:
                logps += [lp if m else 0.0 for m, lp in zip(on, drawn or on, strict=True)]
        return tuple(mask), None if logps is None else tuple(logps)
