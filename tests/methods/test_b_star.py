"""B-STaR (arXiv:2412.17256): balance scores, what is selected, the monitors, and when it is online rejection fine-tuning."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field

import pytest
import torch
from real_runs import run_in

from selfevo import seeds
from selfevo.curricula import Fixed
from selfevo.errors import UserError
from selfevo.evals import Exploration
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.samples import Kept
from selfevo.samples.kept import smallest_cap
from selfevo.tasks import ChainSum
from selfevo.verifiers import Balance
from selfevo.verifiers.balance import balance_score


@dataclass
class Ctx:
    name: str = "probe"
    logged: dict = field(default_factory=dict)

    def rng(self, *key):
        return seeds.rng(*key)

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.logged[name] = value


def response(query, text, reward, right, temperature=1.0, hop=0):
    turn = Turn("policy", text, tuple(text.encode()), (-0.1,) * len(text), (1,), "solver@0", temperature)
    t = Trajectory(
        f"{query}{text}{temperature}{hop}",
        Task({"question": query}, answer="4"),
        "solver",
        "solver@0",
        (turn,),
        f"e{hop}",
        {"group": query},
    )
    return Row.of(t).rewarded("exact", float(right)).rewarded("score", reward)


@pytest.mark.parametrize(
    "c, n, n_star, score", [(8, 8, 8, 1), (4, 4, 8, 0.5), (8, 16, 8, 0.5), (0, 5, 8, 0), (0, 0, 8, 0), (3, 3, 1, 1), (1, 1, 1, 1)]
)
def test_balance_scores_are_those_of_the_card(c, n, n_star, score):
    assert balance_score(c, n, n_star) == score


def test_the_score_lies_between_0_and_1_and_grows_with_right_responses():
    for n in range(1, 20):
        scores = [balance_score(c, n, 8) for c in range(n + 1)]
        assert scores == sorted(scores)
        assert 0 <= scores[0] <= scores[-1] <= 1


def test_the_pair_with_the_best_mean_score_wins():
    rows = []
    for q in "ab":  # hot: two right ones among wrong ones that the reward tells apart; cold: one right one, over and over
        rows += [response(q, f"right {i}", 1.0, True, 1.2) for i in range(2)] + [
            response(q, f"wrong {i}", 0.3, False, 1.2) for i in range(2)
        ]
        rows += [response(q, "right", 1.0, True, 0.5, hop=i) for i in range(4)]
    ctx = Ctx()
    part = Balance("score", "exact", n_star=2, thresholds=(-0.5, 0.5, 0.25))
    assert part.grid == [-0.5, -0.25, 0.0, 0.25, 0.5]
    assert part(rows, ctx) == rows
    assert ctx.logged["probe/balance/T=0.5"] == 0.5  # equal responses count once
    assert (ctx.logged["probe/temperature"], ctx.logged["probe/threshold"], ctx.logged["probe/balance"]) == (1.2, 0.5, 1.0)
    shuffled, again = random.Random(0).sample(rows, len(rows)), Ctx()
    part(shuffled, again)
    assert again.logged == ctx.logged


def test_ties_go_to_the_lower_temperature_and_threshold():
    rows = [response("a", "right", 1.0, True, t) for t in (1.0, 0.7)]
    ctx = Ctx()
    Balance("score", "exact", n_star=1, thresholds=(0.0, 0.5, 0.1))(rows, ctx)
    assert (ctx.logged["probe/temperature"], ctx.logged["probe/threshold"]) == (0.7, 0.0)


def test_the_selection_that_is_scored_keeps_few_of_each_query_until_it_is_full():
    queries = [[(1.0, True), (0.9, True), (0.8, False)], [(1.0, True)]]
    part = Balance("score", "exact", n_star=2, fill=3)
    # k = 2 gives three responses: 2 right of 2, and 1 right of 1
    assert part.score(queries, 0.0) == (1.0 + 0.5) / 2
    assert Balance("score", "exact", n_star=2).score(queries, 0.0) == pytest.approx((2 / 3 + 0.5) / 2)
    assert Balance("score", "exact", n_star=2, fill=99, most=1).score(queries, 0.0) == 0.5


def test_queries_with_nothing_selected_are_left_out_or_count_as_zero():
    queries = [[(1.0, True)], [(0.2, False)]]
    assert Balance("score", "exact", n_star=1).score(queries, 0.5) == 1.0
    assert Balance("score", "exact", n_star=1, empty="zero").score(queries, 0.5) == 0.5
    assert Balance("score", "exact", n_star=1).score(queries, 2.0) == 0.0


def test_nothing_is_chosen_where_no_row_has_a_reward():
    row = response("a", "x", 1.0, True)
    ctx = Ctx()
    part = Balance("late", "exact")
    part([row.failed("late", "timeout", "no verdict")], ctx)
    assert ctx.logged == {}
    with pytest.raises(UserError, match="'late'"):
        part([row], ctx)


@pytest.mark.parametrize(
    "bad", [{"n_star": 0}, {"thresholds": (1.0, 0.0, 0.1)}, {"thresholds": (0.0, 1.0, 0.0)}, {"empty": "maybe"}, {"fill": 0}]
)
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(UserError, match="balance"):
        Balance("score", "exact", **bad)


def test_the_card_grid_has_201_thresholds():
    grid = Balance("score", "exact").grid
    assert (len(grid), grid[0], grid[100], grid[-1]) == (201, -1.0, 0.0, 1.0)


def test_the_cap_is_the_smallest_that_fills_the_selection():
    rng = random.Random(0)
    for _ in range(300):
        sizes, fill, most = [rng.randint(0, 9) for _ in range(rng.randint(1, 6))], rng.randint(1, 30), rng.randint(1, 12)
        k = smallest_cap(sizes, fill, most)
        kept = sum(min(s, k) for s in sizes)
        assert 1 <= k <= most
        if kept >= fill:
            assert k == 1 or sum(min(s, k - 1) for s in sizes) < fill
        else:
            assert kept == sum(min(s, most) for s in sizes)


def test_selection_is_distinct_responses_above_the_threshold_best_first_and_capped():
    rows = [
        response("a", "r1", 1.0, True),
        response("a", "r1", 1.0, True, hop=1),
        response("a", "r2", 0.9, True),
        response("a", "w", 0.5, False),
    ]
    rows += [response("b", "r3", 1.0, True), response("b", "r4", 0.6, True)]
    ctx = Ctx("train")
    assert [s.row for s in Kept(above=0.5, unique=True).build(rows, ctx)] == [0, 2, 4, 5]
    assert [s.row for s in Kept(low=0.5, unique=True).build(rows, ctx)] == [0, 2, 3, 4, 5]
    assert [s.row for s in Kept(above=0.5, unique=True, fill=2).build(rows, ctx)] == [0, 4]
    assert ctx.logged["train/best_of"] == 1
    assert [s.row for s in Kept(above=0.5, unique=True, fill=3).build(rows, ctx)] == [0, 2, 4, 5]  # whole caps only
    assert [s.row for s in Kept(above=0.5, unique=True, fill=99, best_of=1).build(rows, ctx)] == [0, 4]
    assert Kept(above=1.0).build(rows, ctx) == []
    with pytest.raises(UserError, match="fill"):
        Kept(fill=0)


def test_monitors_by_hand():
    rows = [
        response("a", "2+2=4", 1.0, True, hop=0),
        response("a", "2+2=4", 1.0, True, hop=1),
        response("a", "2+2 = 4\n1+3=4", 0.5, True, hop=2),
    ]
    rows += [response("a", "5", 0.7, False, hop=3)]
    rows += [response("b", "1+1=3", 1.0, False, hop=0), response("b", "2", 0.2, True, hop=1)]
    m = Exploration(at=[1, 2])(rows, lambda r: r.reward("exact") == 1.0)
    assert (m["pass@K-S=1"], m["pass@K-S=2"]) == (1.0, 0.5)
    assert (m["reward@K-S=1"], m["reward@K-S=2"], m["best_of"]) == (0.5, (1.0 + 0.5) / 2, 0.5)
    assert m["diversity"] == (2 / 4 + 1) / 2
    assert Exploration(at=[3])(rows[:4], lambda r: r.reward("exact") == 1.0)["reward@K-S=3"] == pytest.approx(2 / 3)
    tied = [response("c", "x", 1.0, True, hop=0), response("c", "y", 1.0, False, hop=1)]
    assert Exploration(at=[1])(tied, lambda r: r.reward("exact") == 1.0)["best_of"] == 0.5
    assert math.isnan(Exploration()(tied, lambda r: False)["diversity"])


def test_a_probe_set_is_the_same_in_every_call_and_replaces_what_is_held_out_alike():
    probe = Fixed(ChainSum())
    a, b = probe.sample(8, Ctx("probe")), Fixed(ChainSum()).sample(8, Ctx("probe"))
    assert [t.id for t in a] == [t.id for t in b]
    assert len({t.id for t in a}) == 8
    assert not {t.id for t in a} & {t.id for t in Fixed(ChainSum(), seed=1).sample(8, Ctx("probe"))}
    assert [t.id for t in probe.sample(1, Ctx("probe+1"))] == [t.id for t in probe.sample(1, Ctx("probe+1"))]


SMALL = ["experiment=tiny/b_star", "scale=tiny", "optimizer.steps=null"]
NO_PROBE = ["stages.probe=null", "stages.choose=null", "loop.main.do=[rollout, score, train, evaluate]", "roles.prober=null", "~probe"]


@pytest.mark.slow
def test_with_one_temperature_and_one_threshold_it_is_online_rejection_fine_tuning(tmp_path):
    one = ["loop.main.do=[{sweep: {each: [1.0], do: [probe]}}, choose, rollout, score, train]", "stages.evaluate=null", "loop.start=null"]
    grid = "stages.choose.verifier.probe.thresholds=[0.5, 0.5, 1]"
    chosen = run_in(tmp_path / "chosen", [*SMALL, *one, grid, "optimizer.samples.kept.fill=null", "optimizer.samples.kept.best_of=null"])
    fitted = ["optimizer=rejection_sft", "optimizer.lr={cosine: [1.0e-3, 1.0e-4]}", "optimizer.mini_batch=32", "optimizer.steps=null"]
    kept = "optimizer.samples.kept={_target_: selfevo.samples.Kept, low: 1.0, unique: true, above: -inf, fill: null, best_of: null}"
    loop = ["loop.main.do=[rollout, score, train]", *one[1:], "roles.solver.temperature=1.0"]
    plain = run_in(tmp_path / "plain", [*SMALL, *NO_PROBE, *loop, *fitted, kept])
    assert chosen.metric("choose", "probe/temperature") == [1.0, 1.0]
    a, b = chosen.tensors(), plain.tensors()
    assert all(torch.equal(a[name], b[name]) for name in a)
    rows = [[(r.trajectory.text, r.trajectory.keys["sample"]) for r in run.rows("main.1", "score")] for run in (chosen, plain)]
    assert rows[0] == rows[1]


@pytest.mark.slow
def test_the_chosen_temperature_is_the_one_that_is_sampled_at_and_the_steps_are_as_many_as_asked(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/b_star", "scale=tiny"])
    for i, chosen in enumerate(run.metric("choose", "probe/temperature")):
        assert {r.trajectory.turns[-1].temperature for r in run.rows(f"main.{i}", "rollout")} == {chosen}
        temperatures = [run.rows(f"main.{i}/sweep.{k}", "probe")[0].trajectory.turns[-1].temperature for k in range(5)]
        assert temperatures == [0.4, 0.7, 1.0, 1.3, 1.6]
    probes = [[r.trajectory.task.id for r in run.rows(f"main.{i}/sweep.{k}", "probe")] for i in range(2) for k in range(5)]
    assert all(p == probes[0] for p in probes)
    assert run.metric("train", "train/steps") == [4.0, 8.0]
