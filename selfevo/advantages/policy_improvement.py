"""A second look at a batch: its advantages, scaled by whether the policy has improved since."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..errors import UserError
from ..protocols import Advantage, Number, RunCtx
from ..records import Column, Row, Sample
from ..samples.common import key_of
from .common import deviation, mean
from .group_norm import GroupNorm


class PolicyImprovement:
    r"""PIPO's reward of the previous batch (Policy Improvement Reinforcement Learning, 2026, arXiv:2604.00860):

        A'_i = G A_i / sum_j |A_j|  phi,     phi = clip(xi, low, high),     xi = (mu - mean(window)) / (std(window) + eps)

    over the group's G samples, with A the advantages of `of`, mu the latest committed value of `metric` (the mean reward of the batch
    that the present policy sampled) and the window the `window` values before it (std with n - 1). In a group with any signal the mean
    of |A'| is |phi|; a group of equal rewards is 0. Until the window is full phi is 0. A column of zeros makes no optimizer step.
    One number per sample, float64. Logs xi, phi and the window's mean as "advantage/<column>/xi", ".../phi" and ".../baseline".

    The window is read from the run's committed metrics, so it survives a resume; it is not emptied when the tasks become harder, which
    then reads as a regression.

    Args:
        of: advantages of the batch, a number per sample; `GroupNorm()` when left out.
        metric: what the policy is judged by.
        window: values before the latest that it is compared with, at least 2.
        low, high: bounds of phi. [0, 0.5] only reinforces; a negative low also takes back.
        eps: added to the window's deviation (the paper leaves it open).
        by: keys whose values make a group.
    """

    def __init__(
        self,
        of: Advantage | None = None,
        metric: str = "rollout/reward",
        window: int = 8,
        low: Number = 0.0,
        high: Number = 0.5,
        eps: float = 1e-6,
        by: Sequence[str] = ("group",),
    ):
        if window < 2:
            raise UserError(f"advantages.PolicyImprovement: window must be at least 2 (a deviation is taken over it), got {window}")
        if isinstance(low, float | int) and isinstance(high, float | int) and low > high:
            raise UserError(f"advantages.PolicyImprovement: low ({low}) is above high ({high})")
        if eps <= 0:
            raise UserError(f"advantages.PolicyImprovement: eps must be above 0, got {eps}")
        self.of: Advantage = GroupNorm() if of is None else of
        self.needs: frozenset[str] = getattr(self.of, "needs", frozenset())
        self.metric, self.window, self.low, self.high, self.eps, self.by = metric, window, low, high, eps, tuple(by)

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where `of` gives a number per token."""
        phi, base, sizes = self._phi(ctx), [], dict[tuple[str, ...], list[float]]()
        keys = [key_of(rows[s.row], self.by, f"advantage '{ctx.name}'") for s in samples]
        for key, a in zip(keys, self.of(samples, rows, ctx), strict=True):
            if isinstance(a, tuple):
                raise UserError(f"advantage '{ctx.name}': `of` gives a number per token; a verdict on whole samples needs one each")
            base.append(a)
            sizes.setdefault(key, []).append(abs(a))
        scale = {key: mean(group) for key, group in sizes.items()}
        return [a / scale[key] * phi if scale[key] else 0.0 for a, key in zip(base, keys, strict=True)]

    def _phi(self, ctx: RunCtx) -> float:
        past = ctx.history(self.metric)
        if len(past) <= self.window:
            return 0.0
        window = past[-self.window - 1 : -1]
        xi = (past[-1] - mean(window)) / (deviation(window, "sample") + self.eps)
        phi = min(max(xi, ctx.value(self.low)), ctx.value(self.high))
        for name, value in (("xi", xi), ("phi", phi), ("baseline", mean(window))):
            ctx.log(f"advantage/{ctx.name}/{name}", value)
        return phi

    def state_dict(self) -> dict[str, Any]:
        """The inner advantage's state, if it has one."""
        inner = getattr(self.of, "state_dict", None)
        return {"of": inner() if inner is not None else {}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore; raises ValueError for a state that does not fit."""
        inner = getattr(self.of, "load_state_dict", None)
        if set(state) != {"of"} or (inner is None and state["of"]):
            raise ValueError(f"advantages.PolicyImprovement: a state with {sorted(state)} does not fit")
        if inner is not None:
            inner(state["of"])
