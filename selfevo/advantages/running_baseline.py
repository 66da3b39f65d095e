"""Rewards against a running mean, kept apart by key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from ..errors import UserError
from ..protocols import RunCtx
from ..records import Column, Row, Sample
from .common import gather, mean


class RunningBaseline:
    """A_i = r_i - b_k with b_k <- decay b_k + (1 - decay) r for the rewards r with key k. Stateful.

    The role-conditioned advantage of SPIRAL (Liu et al. 2025, arXiv:2506.24119, section 3.3) with `by: [game, seat]` and `per: episode`:
    game after game, in the order of rows, each counting once for each of its keys however many rows it has. `per: batch` moves a baseline
    once, by the mean of the batch's rewards (each trajectory counts once), so that the order of rows does not matter. One number per
    sample.

    Args:
        reward: reward that is compared.
        by: keys that have a baseline each.
        decay: weight of the past, in [0, 1).
        start: baseline before the first batch; None takes the first batch's mean.
        use: "before" subtracts the baseline as it was before the batch or episode (unbiased; SPIRAL's code), "after" the updated one (the
            order in which its paper writes the two steps).
        per: what moves a baseline, a "batch" or an "episode".
    """

    def __init__(
        self,
        reward: str = "score",
        by: Sequence[str] = ("role",),
        decay: float = 0.95,
        start: float | None = 0.0,
        use: Literal["before", "after"] = "after",
        per: Literal["batch", "episode"] = "batch",
    ):
        if not 0 <= decay < 1:
            raise UserError(f"advantages.RunningBaseline: decay must lie in [0, 1), got {decay}")
        if use not in ("before", "after"):
            raise UserError(f"advantages.RunningBaseline: use must be 'before' or 'after', got {use!r}")
        if per not in ("batch", "episode"):
            raise UserError(f"advantages.RunningBaseline: per must be 'batch' or 'episode', got {per!r}")
        self.reward, self.by, self.decay, self.start, self.use, self.per = reward, tuple(by), decay, start, use, per
        self._baselines: dict[tuple[str, ...], float] = {}

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample; moves the baselines of the keys that occur. Raises UserError where a row lacks the reward or a key."""
        found = gather(samples, rows, self.reward, self.by, "samples", ctx)
        if self.per == "batch":
            used = {key: self._moved(key, mean(rewards)) for key, rewards in found.members.items()}
            return [r - used[k] for r, k in zip(found.rewards, found.keys, strict=True)]
        order = sorted(range(len(samples)), key=lambda i: samples[i].row)
        seen: dict[tuple[str, tuple[str, ...]], float] = {}
        for i in order:
            game = (rows[samples[i].row].trajectory.episode, found.keys[i])
            if game not in seen:
                seen[game] = self._moved(found.keys[i], found.rewards[i])
        episodes = [rows[s.row].trajectory.episode for s in samples]
        return [r - seen[e, k] for r, e, k in zip(found.rewards, episodes, found.keys, strict=True)]

    def _moved(self, key: tuple[str, ...], reward: float) -> float:
        """Move a baseline; the value to subtract."""
        old = self._baselines.get(key, reward if self.start is None else self.start)
        new = self._baselines[key] = self.decay * old + (1 - self.decay) * reward
        return old if self.use == "before" else new

    def state_dict(self) -> dict[str, Any]:
        """The baselines, with the keys they belong to."""
        return {"by": list(self.by), "baselines": [[list(k), b] for k, b in self._baselines.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state kept under other keys."""
        if set(state) != {"by", "baselines"} or tuple(state["by"]) != self.by:
            raise ValueError(f"advantages.RunningBaseline: a state by {state.get('by')} does not fit baselines by {list(self.by)}")
        self._baselines = {tuple(key): float(b) for key, b in state["baselines"]}
