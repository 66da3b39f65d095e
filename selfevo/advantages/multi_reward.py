"""One advantage from several rewards that are kept apart until here."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

from ..errors import UserError
from ..protocols import Number, RunCtx
from ..records import Column, Row, Sample
from .common import Over, deviation, gather, mean


class MultiReward:
    r"""DVAO's estimator for a vector of rewards (2026, arXiv:2605.25604), and those it is compared with.

    Over a group, mu_k and sigma_k are mean and deviation of reward k, b_k its weight:

        dynamic:    A_i = sum_k w_k (r_ik - mu_k) / (sigma_k + eps),   w_k = b_k sigma_k / sum_l b_l sigma_l     (DVAO)
        advantage:  A_i = sum_k b_k (r_ik - mu_k) / (sigma_k + eps)               (`Whiten` around it is GDPO)
        reward:     A_i = sum_k b_k (r_ik - mu_k) / (std_i(sum_k b_k r_ik) + eps)                (GRPO on the sum)

    With eps = 0, DVAO is sum_k b_k (r_ik - mu_k) / sum_k b_k sigma_k, never larger in size than GRPO on the sum, and its mean square is
    w' rho w <= 1 with rho the correlations within the group: rewards that contradict each other shrink the step. A reward that is
    constant in the group weighs nothing. Where sum_k b_k sigma_k ("reward": the deviation of the sum) is at most eps, and in a group of
    one, A is exactly 0. Weights follow the rewards' own scales, so put them on comparable ones.

    Logs the means over groups of sigma and w as "advantage/<column>/sigma_<reward>" and ".../weight_<reward>", and ".../mean_square" of A.
    One number per sample, float64; do not whiten a dynamic one, which would undo its bound.

    Args:
        rewards: b_k by reward name, each at least 0. The paper's are equal and sum to 1.
        how: which of the three.
        by: keys whose values make a group.
        std: "population" or "sample".
        eps: see above.
        over: rows that make up the statistics: those that "samples" were built from, or all "rows" that have the reward.
    """

    def __init__(
        self,
        rewards: Mapping[str, Number],
        how: Literal["dynamic", "advantage", "reward"] = "dynamic",
        by: Sequence[str] = ("group",),
        std: Literal["population", "sample"] = "population",
        eps: float = 1e-6,
        over: Over = "samples",
    ):
        if not rewards:
            raise UserError("advantages.MultiReward: rewards is empty; give a weight for each reward")
        for name, weight in rewards.items():
            if isinstance(weight, float | int) and not 0 <= weight < math.inf:
                raise UserError(f"advantages.MultiReward: the weight of reward '{name}' is {weight}, expected at least 0")
        for what, value, valid in (("how", how, ("dynamic", "advantage", "reward")), ("std", std, ("population", "sample"))):
            if value not in valid:
                raise UserError(f"advantages.MultiReward: {what} must be one of {', '.join(valid)}, got {value!r}")
        if eps < 0:
            raise UserError(f"advantages.MultiReward: eps must not be negative, got {eps}")
        self.rewards, self.how, self.by, self.std, self.eps, self.over = dict(rewards), how, tuple(by), std, eps, over

    def __call__(self, samples: Sequence[Sample], rows: Sequence[Row], ctx: RunCtx) -> list[Column]:
        """One number per sample. Raises UserError where a row lacks one of the rewards or a key."""
        b = {name: ctx.value(weight) for name, weight in self.rewards.items()}
        found = {name: gather(samples, rows, name, self.by, self.over, ctx) for name in b}
        keys = next(iter(found.values())).keys
        groups = {key: {k: found[k].members[key] for k in b} for key in dict.fromkeys(keys)}
        sigma = {key: {k: deviation(v, self.std) if len(v) > 1 else 0.0 for k, v in group.items()} for key, group in groups.items()}
        weight = {key: self._weights(b, sigma[key]) for key in groups}
        factor = {key: self._factors(group, b, sigma[key], weight[key]) for key, group in groups.items()}
        mu = {key: {k: mean(v) for k, v in group.items()} for key, group in groups.items()}
        made = [math.fsum(factor[key][k] * (found[k].rewards[i] - mu[key][k]) for k in b) for i, key in enumerate(keys)]
        for k in b if made else ():
            ctx.log(f"advantage/{ctx.name}/sigma_{k}", mean([s[k] for s in sigma.values()]))
            ctx.log(f"advantage/{ctx.name}/weight_{k}", mean([w[k] for w in weight.values()]))
        if made:
            ctx.log(f"advantage/{ctx.name}/mean_square", mean([a * a for a in made]))
        return list(made)

    def _weights(self, b: Mapping[str, float], sigma: Mapping[str, float]) -> Mapping[str, float]:
        """w by reward; b itself where nothing adapts."""
        if self.how != "dynamic":
            return b
        total = math.fsum(b[k] * sigma[k] for k in b)
        return {k: b[k] * sigma[k] / total if total > self.eps else 0.0 for k in b}

    def _factors(
        self, group: Mapping[str, Sequence[float]], b: Mapping[str, float], sigma: Mapping[str, float], w: Mapping[str, float]
    ) -> dict[str, float]:
        """What each reward's distance from its mean is multiplied by."""
        if self.how != "reward":
            return {k: w[k] / (sigma[k] + self.eps) if sigma[k] else 0.0 for k in b}
        sums = [math.fsum(b[k] * values[i] for k, values in group.items()) for i in range(len(next(iter(group.values()))))]
        spread = deviation(sums, self.std) if len(sums) > 1 else 0.0
        return {k: b[k] / (spread + self.eps) if spread > self.eps else 0.0 for k in b}
