"""Rewards against a running mean, kept apart by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import gather, mean


class RunningBaseline:
    """A_i = r_i - b_k with b_k <- decay b_k + (1 - decay) mean of the batch's rewards with key k. Stateful.

    The role-conditioned advantage of SPIRAL (Liu et al. 2025, arXiv:2506.24119, section 3.3) with `by: [role]`, batch by batch rather than
    trajectory by trajectory, so that the order of rows does not matter. Each trajectory counts once. One number per sample.

    Args:
        reward: reward that is compared.
        by: keys that have a baseline each.
        decay: weight of the past, in [0, 1).
        start: baseline before the first batch; None takes the first batch's mean.
        use: "before" subtracts the baseline as it was before the batch (unbiased), "after" the updated one (as SPIRAL does).
    """

    def __init__(
        self,
        reward: str = "score",
        by: Sequence[str] = ("role",),
        decay: float = 0.95,
        start: float | None = 0.0,
        use: Literal["before", "after"] = "after",
    ):
        if not 0 <= decay < 1:
            raise UserError(f"advantages.RunningBaseline: decay must lie in [0, 1), got {decay}")
        if use not in ("before", "after"):
            raise UserError(f"advantages.RunningBaseline: use must be 'before' or 'after', got {use!r}")
        self.reward, self.by, self.decay, self.start, self.use = reward, tuple(by), decay, start, use
        self._baselines: dict[tuple[str, ...], float] = {}

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample; moves the baselines of the keys that occur. Raises UserError where a row lacks the reward or a key."""
        found = gather(samples, rows, self.reward, self.by, "samples", ctx)
        used: dict[tuple[str, ...], float] = {}
        for key, rewards in found.members.items():
            now = mean(rewards)
            old = self._baselines.get(key, now if self.start is None else self.start)
            new = self._baselines[key] = self.decay * old + (1 - self.decay) * now
            used[key] = old if self.use == "before" else new
        return [r - used[k] for r, k in zip(found.rewards, found.keys, strict=True)]

    def state_dict(self) -> dict[str, Any]:
        """The baselines, with the keys they belong to."""
        return {"by": list(self.by), "baselines": [[list(k), b] for k, b in self._baselines.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state kept under other keys."""
        if set(state) != {"by", "baselines"} or tuple(state["by"]) != self.by:
            raise ValueError(f"advantages.RunningBaseline: a state by {state.get('by')} does not fit baselines by {list(self.by)}")
        self._baselines = {tuple(key): float(b) for key, b in state["baselines"]}
