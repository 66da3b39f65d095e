"""SEC (arXiv:2505.14970): the bandit's payments, its limits, and what it leaves alone."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
from real_runs import run_in

from selfevo.advantages import GroupNorm, LeaveOneOut, RunningBaseline
from selfevo.context import StageCtx
from selfevo.curricula import Boltzmann, Mixture, Uniform
from selfevo.errors import UserError
from selfevo.records import Row, Task, Trajectory
from selfevo.tasks import ChainSum
from selfevo.world import World

EXACT = GroupNorm(std="population", eps=0.0)


@pytest.fixture
def at(tmp_path):
    """`at(iteration)`: a stage's context."""
    world = World(0, 10, {}, {}, tmp_path)
    return lambda iteration=0, name="curriculum": StageCtx(world, f"main.{iteration}", "rollout", iteration, name=name)


def group(level, right, size, name="g", keep=True, category="chain_sum"):
    """A group of `size` rows on one task, the first `right` of them right."""
    task = Task({"question": f"{name}{level}"}, "1", category, level)
    rows = [Row.of(Trajectory(f"{name}{level}.{i}", task, "solver", "solver@000000", (), f"e{i}")) for i in range(size)]
    return [row.rewarded("score", float(i < right), keep=keep) for i, row in enumerate(rows)]


def bandit(levels=(1, 2, 3), advantage=EXACT, **settings):
    return Boltzmann(ChainSum(levels), advantage, **settings)


@pytest.mark.parametrize("size", [2, 4, 7, 8])
def test_a_group_pays_two_root_q_one_minus_q(at, size):
    for right in range(size + 1):
        q, paid = right / size, {}
        for std in ("population", "sample", "none"):
            b = bandit(advantage=GroupNorm(std=std, eps=0.0), alpha=1.0)
            b.update(group(2, right, size), at())
            paid[std] = b._q[None, 2.0]
        assert paid["population"] == pytest.approx(2 * math.sqrt(q * (1 - q)), abs=1e-12)
        assert paid["sample"] == pytest.approx(paid["population"] * math.sqrt((size - 1) / size), abs=1e-12)
        assert paid["none"] == pytest.approx(2 * q * (1 - q), abs=1e-12)


def test_q_is_an_exponential_average_and_arms_without_rows_keep_theirs(at):
    b, ctx = bandit(alpha=0.25, start=0.2), at()
    for right in (2, 4, 1):
        b.update([*group(1, right, 4), *group(3, right, 4, "other")], ctx)
    expected = 0.2
    for q in (0.5, 1.0, 0.25):
        expected = 0.25 * 2 * math.sqrt(q * (1 - q)) + 0.75 * expected
    assert b._q == {(None, 1.0): pytest.approx(expected), (None, 2.0): 0.2, (None, 3.0): pytest.approx(expected)}
    assert ctx.metrics["curriculum/q/level=1"] == b._q[None, 1.0] and "curriculum/r/level=2" not in ctx.metrics


def test_a_category_is_paid_the_mean_over_all_its_rows_before_any_filter(at):
    b = bandit(alpha=1.0)
    b.update([*group(1, 2, 4, "a"), *group(1, 4, 4, "b", keep=False), *group(1, 0, 8, "c", keep=False)], at())
    assert b._q[None, 1.0] == pytest.approx(4 * 1.0 / 16)  # the groups that a filter took out count with advantage 0


def test_a_group_of_one_and_failed_rows_pay_nothing(at):
    b, broken = bandit(alpha=1.0, start=0.5), [r.failed("score", "error", "broken") for r in group(2, 0, 4)]
    broken = [Row.of(r.trajectory).failed("score", "error", "broken") for r in broken]
    b.update([*group(1, 1, 1), *broken], at())
    assert b._q == {(None, 1.0): 0.0, (None, 2.0): 0.5, (None, 3.0): 0.5}
    b.update([], at())
    assert b._q[None, 2.0] == 0.5


def test_probabilities_are_a_softmax(at):
    b, tau = bandit(alpha=1.0), 0.3
    b.update([*group(1, 1, 4), *group(2, 2, 4)], at())
    weights = [math.exp(q / tau) for q in b._q.values()]
    assert list(b.chances(tau).values()) == pytest.approx([w / sum(weights) for w in weights])


def test_infinite_temperature_and_alpha_zero_are_uniform_and_zero_is_greedy(at):
    learned = bandit(alpha=1.0)
    learned.update([*group(1, 1, 8), *group(2, 4, 8), *group(3, 8, 8)], at())
    stubborn = bandit(alpha=0.0, tau=0.01)
    stubborn.update([*group(1, 1, 8), *group(2, 4, 8)], at())
    assert list(learned.chances(math.inf).values()) == list(stubborn.chances(0.01).values()) == [1 / 3] * 3
    assert list(learned.chances(0.0).values()) == [0, 1, 0]
    assert list(learned.chances(1e-4).values()) == pytest.approx([0, 1, 0])
    learned.tau = 0.0
    assert {t.difficulty for t in learned.sample(20, at())} == {2.0}
    assert bandit().chances(0.0) == bandit().chances(math.inf)  # ties of the greedy choice are uniform
    counts = Counter(t.difficulty for i in range(30) for t in stubborn.sample(100, at(i)))
    assert all(900 < counts[level] < 1100 for level in (1.0, 2.0, 3.0))  # 1000 +- 4 standard deviations


def test_a_single_arm_draws_what_uniform_draws(at):
    b = bandit([4])
    for i in range(3):
        assert b.sample(16, at(i)) == Uniform(ChainSum([4])).sample(16, at(i))
        b.update(group(4, 2, 4), at(i))


def test_other_estimators_pay_their_own_size(at):
    b = bandit(advantage=LeaveOneOut(), alpha=1.0)
    b.update(group(1, 1, 4), at())
    assert b._q[None, 1.0] == pytest.approx((1 + 3 / 3) / 4)  # 1 - 0, and three times 0 - 1/3


def test_cells_are_arms_of_their_own(at):
    b = Boltzmann(ChainSum([1, 2]), EXACT, by="cell", alpha=1.0)
    b.update([*group(1, 2, 4), *group(2, 2, 4, category="elsewhere")], ctx := at())
    assert b._q == {("chain_sum", 1.0): 1.0, ("chain_sum", 2.0): 0.0}
    assert ctx.metrics["curriculum/foreign"] == 4 and ctx.metrics["curriculum/r/category=chain_sum,level=1"] == 1.0


def test_the_state_goes_through_json_and_goes_on_as_before(at):
    def fresh():
        return bandit(advantage=RunningBaseline(by=["role"], use="before"))

    one, other = fresh(), fresh()
    one.update(group(1, 2, 4), at())
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    for b in (one, other):
        b.update(group(2, 3, 4), at(1))
    assert one.state_dict() == other.state_dict() and one.sample(8, at(2)) == other.sample(8, at(2))
    with pytest.raises(ValueError, match="arms"):
        bandit([1, 2]).load_state_dict(bandit().state_dict())
    assert isinstance(Mixture({"a": one}).state_dict()["curricula"]["a"]["q"], list)  # saved inside a mixture too


def test_an_estimator_that_only_a_learner_can_serve_is_refused():
    from selfevo.advantages import Gae

    class Needy(GroupNorm):
        needs = frozenset({"value"})

    with pytest.raises(UserError, match="needs"):
        bandit(advantage=Needy())
    with pytest.raises(UserError, match="value"):
        bandit(advantage=Gae()).update(group(1, 1, 2), StageCtx(None, "main.0", "score", 0, name="curriculum"))


@pytest.mark.parametrize("settings", [{"alpha": 1.5}, {"tau": -1.0}, {"by": "levels"}])
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        bandit(**settings)


@pytest.mark.slow
def test_one_category_trains_the_same_weights_as_the_base_algorithm(tmp_path):
    same = ["experiment=tiny/sec", "scale=tiny", "task.levels=[2]"]
    ours = run_in(tmp_path / "sec", same)
    base = run_in(tmp_path / "base", ["curriculum=uniform" if o == "experiment=tiny/sec" else o for o in base_of(same)])
    assert all((ours.tensors()[name] == tensor).all() for name, tensor in base.tensors().items())


def base_of(overrides):
    """The same run as a plain experiment: GRPO on a uniform curriculum with the settings of tiny/sec."""
    return [
        *overrides,
        "eval.name=harder",
        "eval.source.levels=[6]",
        "optimizer.lr={linear: [1.0e-3, 1.0e-4]}",
        "optimizer.micro_tokens=4096",
        "optimizer.advantage.outcome.std=population",
        "optimizer.advantage.outcome.eps=0.0",
        "optimizer.objective.kl=null",
    ]
