"""PIPO: identities A, B and C of its card, the window, and what a regression does to the batch before it."""

from __future__ import annotations

import math
from statistics import mean, stdev

import pytest
import torch
from learner_bench import sampled, tiny_policy
from method_bench import Named, columns, learner, scored
from real_runs import run_in

from selfevo.advantages import GroupNorm, LeaveOneOut, PolicyImprovement, Raw
from selfevo.errors import UserError
from selfevo.objectives import ClippedRatio

GROUPS = {"a": [1.0, 0.0, 0.0, 1.0, 0.0], "b": [0.0, 1.0, 1.0], "same": [1.0, 1.0], "one": [0.0]}
METRIC = "rollout/reward"
BETTER, WORSE = [0.4, 0.5, 0.6, 0.5, 0.9], [0.4, 0.5, 0.6, 0.5, 0.1]


def past(values):
    return Named(past={METRIC: values})


def judged(values, groups=GROUPS, **settings):
    samples, rows = scored(groups)
    ctx = past(values)
    made = columns(PolicyImprovement(**{"window": 4, **settings}), samples, rows, ctx)
    return made, ctx, rows


def test_phi_is_how_far_the_last_value_lies_above_the_window():
    for values in (BETTER, WORSE, [0.4, 0.5, 0.6, 0.5, 0.51]):
        _, ctx, _ = judged(values, low=-10.0, high=10.0)
        xi = (values[-1] - mean(values[:-1])) / (stdev(values[:-1]) + 1e-6)
        assert ctx.metrics["advantage/column/xi"] == pytest.approx(xi, abs=1e-12)
        assert ctx.metrics["advantage/column/phi"] == pytest.approx(max(-10, min(10, xi)), abs=1e-12)
        assert ctx.metrics["advantage/column/baseline"] == pytest.approx(0.5)
    assert judged(BETTER)[1].metrics["advantage/column/phi"] == 0.5  # the paper's range
    assert judged(WORSE)[1].metrics["advantage/column/phi"] == 0.0
    assert judged([9.0, 9.0, *BETTER])[1].metrics["advantage/column/baseline"] == pytest.approx(0.5)  # only the window counts


def test_identity_a_until_the_window_is_full_and_with_an_empty_range_nothing_is_learned():
    assert not any(judged(BETTER[1:])[0])
    assert "advantage/column/phi" not in judged(BETTER[1:])[1].metrics
    assert not any(judged(BETTER, low=0.0, high=0.0)[0])
    assert not any(judged([])[0])


@pytest.mark.parametrize("of", [GroupNorm(), GroupNorm(std="none"), LeaveOneOut()])
@pytest.mark.parametrize("values, bounds", [(BETTER, (0.0, 0.5)), (WORSE, (-0.5, 0.5)), ([0.4, 0.5, 0.6, 0.5, 0.53], (0.0, 0.5))])
def test_identity_b_the_attribution_has_a_mean_size_of_phi_and_a_sum_of_zero(of, values, bounds):
    made, ctx, rows = judged(values, of=of, low=bounds[0], high=bounds[1])
    phi = ctx.metrics["advantage/column/phi"]
    assert phi != 0
    for group in ("a", "b"):
        mine = [a for a, row in zip(made, rows, strict=True) if row.group == group]
        assert mean(map(abs, mine)) == pytest.approx(abs(phi), abs=1e-12)
        assert math.fsum(mine) == pytest.approx(0, abs=1e-12)
    base = columns(of, *scored(GROUPS))
    assert all(math.copysign(1, phi) * a * b >= 0 for a, b in zip(made, base, strict=True))
    assert [a for a, row in zip(made, rows, strict=True) if row.group in ("same", "one")] == [0.0] * 3  # 0 / 0 is 0


@pytest.mark.parametrize("values, settings", [
    (WORSE, {}), ([0.5] * 5, {}), (BETTER[1:], {}), (BETTER, {"high": 0.0}), (WORSE, {"high": 5.0}),
])  # fmt: skip
def test_identity_c_without_an_improvement_weights_and_moments_stay_as_they_are(values, settings):
    policy = tiny_policy()
    samples, rows = scored(GROUPS, policy)
    made = learner(
        samples, {"pg": ClippedRatio("verdict")}, {"verdict": PolicyImprovement(window=4, **settings)}, lr=1e-2, weight_decay=0.1
    )
    made.attach(policy)
    before, state = {k: v.clone() for k, v in policy.model.state_dict().items()}, made.state_dict()
    assert made.update(policy, rows, past(values)) is None
    assert all(torch.equal(v, before[k]) for k, v in policy.model.state_dict().items())
    assert made.state_dict()["learned"]["weights"]["moments"] == state["learned"]["weights"]["moments"] == {}
    assert made.update(policy, rows, past(BETTER)) is not None or settings.get("high") == 0.0


def moved(values, **bounds):
    """Mean change of the log-probs of the previous batch's good and bad answers."""
    policy = tiny_policy()
    samples, rows = scored(GROUPS, policy)
    made = learner(samples, {"pg": ClippedRatio("verdict")}, {"verdict": PolicyImprovement(window=4, **bounds)}, lr=1e-3)
    made.update(policy, rows, past(values))
    change = [
        sum(b.columns["logp:sampler"]) - sum(a.columns["logp:sampler"]) for a, b in zip(samples, sampled(samples, policy), strict=True)
    ]
    sign = columns(GroupNorm(), samples, rows)
    good = [c for c, a in zip(change, sign, strict=True) if a > 0]
    bad = [c for c, a in zip(change, sign, strict=True) if a < 0]
    return mean(good), mean(bad)


def test_after_a_regression_the_bidirectional_variant_takes_the_batch_back_and_after_progress_reinforces_it():
    good, bad = moved(WORSE, low=-0.5)
    assert good < 0 < bad
    good, bad = moved(BETTER, low=-0.5)
    assert good > 0 > bad


def test_bad_settings_and_a_number_per_token_are_one_line():
    for settings in ({"window": 1}, {"low": 0.5, "high": 0.0}, {"eps": 0.0}):
        with pytest.raises(UserError, match="PolicyImprovement"):
            PolicyImprovement(**settings)

    class PerToken(Raw):
        def __call__(self, samples, rows, ctx):
            return [(1.0,) * len(s.response) for s in samples]

    samples, rows = scored(GROUPS)
    with pytest.raises(UserError, match="per token"):
        columns(PolicyImprovement(PerToken(), window=4), samples, rows, past(BETTER))


TINY = ["+experiment=tiny/pipo", "scale=tiny", "scale.iterations=7", "scale.eval_every=7"]


@pytest.mark.slow
def test_identity_a_a_run_with_an_empty_range_is_a_run_of_the_base_objective_bit_for_bit(tmp_path):
    never = run_in(tmp_path / "never", [*TINY, "stages.improve.optimizer.advantage.outcome.high=0"])
    without = run_in(tmp_path / "without", [*TINY, "stages.improve=null", "loop.main.do=[rollout,score,train,evaluate]"])
    ours = run_in(tmp_path / "ours", TINY)
    assert all(torch.equal(t, without.tensors()[n]) for n, t in never.tensors().items())
    assert never.metric("score", "score/score") == without.metric("score", "score/score")
    steps = [line["metrics"].get("train/steps") for line in ours.lines if line["stage"] == "improve"]
    phis = [line["metrics"].get("advantage/outcome/phi", 0.0) for line in ours.lines if line["stage"] == "improve"]
    assert any(phis) and [s is not None for s in steps] == [phi > 0 for phi in phis]
    assert any(not torch.equal(t, without.tensors()[n]) for n, t in ours.tensors().items())
    last = [line["metrics"]["train/steps"] for line in ours.lines if line["stage"] == "train"][-1]
    assert last == 7 + sum(phi > 0 for phi in phis)  # both stages step one AdamW
