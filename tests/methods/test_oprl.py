"""OPRL: its exact identities, the step rewards by hand, one ratio per turn, and which reward model scores."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from double import exact_norms
from learner_bench import Bench, near, sampled, tiny_policy
from method_bench import Named, columns, gradient
from real_runs import run_in

from selfevo.advantages import Combined, GroupNorm, ImplicitReward, LeaveOneOut, StepNorm
from selfevo.errors import UserError
from selfevo.learner import Learner
from selfevo.objectives import DPO, ClippedRatio, PolicyGradient
from selfevo.records import Row, Sample, Step, Task, Trajectory, Turn
from selfevo.samples import EachTurn, Pairs, PolicyTurns

BETA = 0.05
GROUPS = {"a": [1.0, 0.0, 0.0], "b": [0.0, 1.0]}


@pytest.fixture(autouse=True, scope="module")
def in_double():
    with pytest.MonkeyPatch.context() as patch:
        exact_norms(patch)
        yield


def played(policy, groups=GROUPS, seed=5):
    """Rows of two or three policy turns each, with something heard in between, sampled (so the log-probs say) by `policy`."""
    r, rows = random.Random(seed), []

    def draw(low, high):
        return tuple(r.randrange(Bench.VOCAB) for _ in range(r.randint(low, high)))

    for group, rewards in groups.items():
        for reward in rewards:
            context, turns = draw(2, 5), []
            for k in range(r.randint(2, 3)):
                if k:
                    turns.append(Turn("env", "", draw(1, 3)))
                    context += turns[-1].tokens
                tokens = draw(1, 5)
                (s,) = sampled([Sample("x", tokens, {"train": context})], policy)
                turns.append(Turn("policy", "", tokens, s.columns["logp:sampler"], context, "solver@000000", finish="stop"))
                context += tokens
            t = Trajectory(
                f"t{len(rows)}", Task({"q": group}), "solver", "solver@000000", tuple(turns), f"e{len(rows)}", keys={"group": group}
            )
            rows.append(Row.of(t).rewarded("score", reward))
    return rows


def parts(alpha=1.0, reference="sampler", **settings):
    return {
        "outcome": GroupNorm(std="population"),
        "implicit": ImplicitReward("prm@current", reference, BETA),
        "steps": StepNorm("implicit", **settings),
        "total": Combined({"outcome": 1.0, "steps": alpha}),
    }


def fitted(rows, policy, prm, alpha=1.0, builder=EachTurn, **settings):
    """Samples of an update that changes nothing, with all columns."""
    made = Learner({"turns": builder()}, {"pg": PolicyGradient("total")}, parts(alpha, **settings), lr=0.0)
    made.update(policy, rows, ctx := Named({"prm@current": prm, "solver@current": policy}))
    return made.fitted, ctx


def log_ratio(prm, policy, row, turn):
    """log phi(a_t) - log theta_old(a_t), by plain passes."""
    turns = [t for t in row.trajectory.turns if t.source == "policy"]
    s = Sample("x", turns[turn].tokens, {"train": turns[turn].context})
    a, b = (sum(sampled([s], p)[0].columns["logp:sampler"]) for p in (prm, policy))
    return a - b


def close(a, b):
    return float((a - b).abs().max()) <= 1e-6 and float(b.abs().max()) > 1e-2


@pytest.mark.parametrize("reference", ["sampler", "solver@current"])
def test_a_reward_model_equal_to_the_policy_gives_no_rewards_and_no_step_advantage(reference):
    policy = tiny_policy(dtype=torch.float64)
    rows = played(policy)
    samples, ctx = fitted(rows, policy, policy.clone_frozen(), reference=reference)
    assert max(abs(r) for s in samples for r in s.columns["implicit"]) < 1e-6
    assert not any(a for s in samples for a in s.columns["steps"])
    assert all(a == s.columns["outcome"] for s in samples for a in s.columns["total"])
    assert ctx.metrics["advantage/steps/spread"] < 1e-6


@pytest.mark.parametrize("outcome", [GroupNorm(std="population"), LeaveOneOut()])
def test_with_no_step_advantage_or_alpha_0_the_update_is_grpos_or_rloos(outcome):
    policy = tiny_policy(dtype=torch.float64)
    rows = played(policy)
    samples = EachTurn().build(rows, Named())
    pg = {"pg": ClippedRatio("total", ratio="product", reduce="rows")}
    plain = gradient(samples, rows, {"pg": ClippedRatio("outcome", ratio="product", reduce="rows")}, {"outcome": outcome})

    def ours(alpha, prm):
        return gradient(samples, rows, pg, {**parts(alpha), "outcome": outcome}, ctx=Named({"prm@current": prm}))

    assert close(ours(1.0, policy.clone_frozen()), plain)
    assert close(ours(0.0, near(policy, 0.1)), plain)
    assert not close(ours(1.0, near(policy, 0.1)), plain)


def test_the_turns_rewards_sum_to_beta_times_the_log_ratio_of_the_trajectory():
    policy = tiny_policy()
    prm, rows = near(policy, 0.1), played(policy)
    samples, _ = fitted(rows, policy, prm)
    for i, row in enumerate(rows):
        mine = [s for s in samples if s.row == i]
        each = [math.fsum(s.columns["implicit"]) for s in mine]
        assert each == pytest.approx([BETA * log_ratio(prm, policy, row, k) for k in range(len(mine))], abs=1e-5)
        whole, _ = fitted(rows, policy, prm, builder=PolicyTurns)
        assert math.fsum(whole[i].columns["implicit"]) == pytest.approx(math.fsum(each), abs=1e-5)  # what is heard counts nothing


def test_step_advantages_are_normalised_over_all_turns_of_the_group():
    policy = tiny_policy()
    prm, rows = near(policy, 0.1), played(policy)
    samples, ctx = fitted(rows, policy, prm)
    spreads = []
    for group in GROUPS:
        mine = [s for s in samples if rows[s.row].group == group]
        r = np.array([math.fsum(s.columns["implicit"]) for s in mine])
        spreads.append(r.std())
        for s, expected in zip(mine, (r - r.mean()) / (r.std() + 1e-6), strict=True):
            assert s.columns["steps"] == pytest.approx([expected] * len(s.response), abs=1e-9)
            assert s.columns["total"] == pytest.approx([expected + s.columns["outcome"]] * len(s.response), abs=1e-9)
    assert ctx.metrics["advantage/steps/spread"] == pytest.approx(np.mean(spreads))


def test_a_turn_has_the_same_advantage_as_a_row_and_as_a_span_of_its_trajectory():
    policy = tiny_policy()
    prm, rows = near(policy, 0.1), played(policy)
    turns, whole = fitted(rows, policy, prm)[0], fitted(rows, policy, prm, builder=PolicyTurns)[0]
    for i, s in enumerate(whole):
        joined = [a for t in turns if t.row == i for a in t.columns["steps"]]
        assert [a for a, m in zip(s.columns["steps"], s.columns["mask"], strict=True) if m] == pytest.approx(joined, abs=1e-4)
        assert not any(a for a, m in zip(s.columns["steps"], s.columns["mask"], strict=True) if not m)


def test_the_policys_loss_has_one_ratio_per_turn_and_the_mean_over_turns():
    policy = tiny_policy(dtype=torch.float64)
    old, prm = near(policy, 0.1), near(policy, 0.1, seed=2)
    rows = played(old)
    ctx = Named({"prm@current": prm})
    made = Learner({"turns": EachTurn()}, {"pg": ClippedRatio("total", ratio="product", reduce="rows")}, parts(), lr=0.0)
    made.update(policy, rows, ctx)
    terms = []
    for s in made.fitted:
        (now,) = sampled([s], policy)
        rho = math.exp(sum(now.columns["logp:sampler"]) - sum(s.columns["logp:sampler"]))
        A = s.columns["total"][0]
        terms.append(-min(rho * A, min(max(rho, 0.8), 1.2) * A))
    assert ctx.metrics["train/pg"] == pytest.approx(sum(terms) / len(terms), abs=1e-5)
    assert any(abs(t) > 0.1 for t in terms)


def prm_learner(**settings):
    return Learner({"pairs": Pairs(which="all")}, {"dpo": DPO("sampler", BETA)}, **settings)


def test_the_reward_models_loss_is_dpo_on_whole_trajectories_against_the_version_that_sampled():
    policy = tiny_policy()
    rows, prm = played(policy), near(policy, 0.1)
    ctx, made = Named(), prm_learner(lr=0.0)
    prm.frozen = False
    prm.model.requires_grad_(True)
    made.update(prm, rows, ctx)
    total = {i: sum(log_ratio(prm, policy, row, k) for k in range(sum(t.source == "policy" for t in row.trajectory.turns)))
             for i, row in enumerate(rows)}  # fmt: skip
    pairs = [(0, 1), (0, 2), (4, 3)]
    expected = [math.log1p(math.exp(-BETA * (total[a] - total[b]))) for a, b in pairs]
    assert ctx.metrics["train/pairs"] == 3
    assert ctx.metrics["train/dpo"] == pytest.approx(sum(expected) / 3, abs=1e-5)
    made.update(policy, rows, fresh := Named())  # at equal models it is ln 2
    assert fresh.metrics["train/dpo"] == pytest.approx(math.log(2), abs=1e-6)


def test_a_fit_makes_the_turns_of_right_trajectories_better_paid():
    policy = tiny_policy()
    rows, prm = played(policy), policy.fork("prm")
    prm_learner(lr=1e-3).update(prm, rows, Named())
    samples, _ = fitted(rows, policy, prm)
    paid = {x: [sum(s.columns["implicit"]) for s in samples if rows[s.row].reward("score") == x] for x in (0.0, 1.0)}
    assert np.mean(paid[1.0]) > 0 > np.mean(paid[0.0])


@pytest.mark.parametrize("groups", [{"a": [1.0, 1.0], "b": [1.0]}, {"a": [0.0, 0.0]}])
def test_without_two_labels_in_a_group_the_reward_model_is_not_stepped(groups):
    policy = tiny_policy()
    before = {k: v.clone() for k, v in policy.model.state_dict().items()}
    ctx = Named()
    assert prm_learner(lr=1e-2, weight_decay=0.1).update(policy, played(policy, groups), ctx) is None
    assert ctx.metrics["train/pairs"] == 0
    assert all(torch.equal(v, before[k]) for k, v in policy.model.state_dict().items())


def test_columns_by_hand():
    rows = [Row.of(Trajectory(f"t{i}", Task({"q": 1}), "s", "p@0", (Turn("policy", "", (1,)),), "e")) for i in range(2)]
    first = Sample(
        "a", (1, 2, 3, 4), {"train": ()}, {"r": (1.0, 2.0, 9.0, 0.5), "mask": (1.0, 1.0, 0.0, 1.0)}, steps=(Step(0, 2), Step(3, 4)), row=0
    )
    second = Sample("b", (5, 6), {"train": ()}, {"r": (1.0, 0.5), "A": 2.0}, row=1)
    # steps 3, 0.5, 1.5: mean 5/3
    made = columns(StepNorm("r", std="none"), [first, second], rows)
    assert made == [(3 - 5 / 3, 3 - 5 / 3, 0.0, 0.5 - 5 / 3), (1.5 - 5 / 3,) * 2]
    assert columns(StepNorm("r", std="none", flat=2.0), [first, second], rows) == [(0.0,) * 4, (0.0,) * 2]
    assert columns(StepNorm("r"), [second], rows) == [(0.0, 0.0)]  # one step has nothing to be compared with
    assert columns(Combined({"A": 0.5, "r": 2.0}), [second], rows) == [(3.0, 2.0)]
    assert columns(Combined({"A": 0.5, "r": 0.0, "gone": 0.0}), [second], rows) == [1.0]


def test_mistakes_are_one_line():
    rows = [Row.of(Trajectory("t", Task({"q": 1}), "s", "p@0", (Turn("policy", "", (1,)),), "e"))]
    sample = Sample("a", (1, 2), {"train": ()}, {"A": 1.0}, row=0)
    for advantage, why in ((StepNorm("r"), "no column 'r'"), (Combined({"outcom": 1.0, "A": 1.0}), "no column 'outcom'"),
                           (ImplicitReward("prm@current"), "no log-probs of 'prm@current'")):  # fmt: skip
        with pytest.raises(UserError, match=why):
            columns(advantage, [sample], rows)
    for make in (
        lambda: Combined({}),
        lambda: StepNorm("r", std="both"),
        lambda: StepNorm("r", flat=-1.0),
        lambda: ImplicitReward("p", beta=0.0),
    ):
        with pytest.raises(UserError):
            make()


@pytest.mark.slow
def test_which_reward_model_scores_is_the_order_of_the_loop(tmp_path):
    def spreads(name, *overrides):
        run = run_in(tmp_path / name, ["+experiment=tiny/oprl", "scale=tiny", "loop.start=null", "stages.evaluate=null", *overrides])
        return run.metric("train", "advantage/steps/spread"), run.metric("fit_prm", "train/dpo")

    after, losses = spreads("after", "loop.main.do=[rollout,score,fit_prm,train]")
    before, _ = spreads("before", "loop.main.do=[rollout,score,train,fit_prm]")
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4)  # it starts as the policy
    assert before[0] < 1e-5 < after[0] and before[1] > 1e-5
