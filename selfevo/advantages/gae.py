"""Generalised advantage estimation over the tokens of a response."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from .common import reward_of
from .whiten import mask_of


def gae(values: Sequence[float], rewards: Sequence[float], gamma: float, lam: float) -> list[float]:
    """A_t = delta_t + gamma lam A_{t+1} with delta_t = r_t + gamma V_{t+1} - V_t (Schulman et al. 2016, arXiv:1506.02438, eq. 16).

    `values` and `rewards` are [T]; the state after the last step is terminal (V = 0, A = 0)."""
    advantages = [0.0] * len(values)
    after, next_value = 0.0, 0.0
    for t in reversed(range(len(values))):
        delta = rewards[t] + gamma * next_value - values[t]
        after = advantages[t] = delta + gamma * lam * after
        next_value = values[t]
    return advantages


class Gae:
    """GAE(gamma, lambda) per token, for PPO. Steps are the tokens with mask 1, so that foreign text in between is no step at all.

    The reward is paid at the last such token of the sample, whatever the trajectory's end was (no bootstrap after truncation), and
    masked tokens have advantage 0. gamma = lam = 1 gives A_t = r - V_t; lam = 0 the one-step TD error. [T] per sample.

    Args:
        gamma: discount per token, in [0, 1].
        lam: trace decay, in [0, 1].
        reward: reward of the trajectory.
        value: column with the value predictions [T], made before the update's first step.
    """

    def __init__(self, gamma: Number = 1.0, lam: Number = 0.95, reward: str = "score", value: str = "value"):
        for name, number in (("gamma", gamma), ("lam", lam)):
            if isinstance(number, float | int) and not 0 <= number <= 1:
                raise UserError(f"advantages.{type(self).__name__}: {name} must lie in [0, 1], got {number}")
        self.gamma, self.lam, self.reward, self.value = gamma, lam, reward, value
        self.needs = frozenset({"value"}) if value == "value" else frozenset()  # the learner computes this column before the others

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """Advantages [T] per sample. Raises UserError where a row lacks the reward or a sample the value column."""
        gamma, lam = ctx.value(self.gamma), ctx.value(self.lam)
        return [self._column(s, reward_of(rows[s.row], self.reward, ctx), gamma, lam, ctx) for s in samples]

    def _column(self, sample: Sample, reward: float, gamma: float, lam: float, ctx: RunCtx) -> tuple[float, ...]:
        values = sample.columns.get(self.value)
        if not isinstance(values, tuple):
            raise UserError(
                f"advantage '{ctx.name}': sample {sample.id} has no column '{self.value}' with a value per token; "
                "add a value head and a ValueLoss term to the learner"
            )
        steps = [t for t, m in enumerate(mask_of(sample)) if m]
        rewards = [0.0] * len(steps)
        if steps:
            rewards[-1] = reward
        column = [0.0] * len(values)
        for t, a in zip(steps, gae([values[t] for t in steps], rewards, gamma, lam), strict=True):
            column[t] = self._entry(a, values[t])
        return tuple(column)

    def _entry(self, advantage: float, value: float) -> float:
        return advantage


class Returns(Gae):
    """The targets of the value function that go with `Gae`: A_t + V_t, [T] per sample. Give it the same numbers.

    Args:
        gamma, lam, reward, value: as in `Gae`.
    """

    def _entry(self, advantage: float, value: float) -> float:
        return advantage + value
