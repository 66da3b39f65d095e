"""RLCCF (arXiv:2508.12338): the weighted vote, its limits, and what each policy learns from."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest
import torch
from real_runs import run_in

from selfevo import seeds
from selfevo.errors import UserError
from selfevo.evals import Collective
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.rollouts import Each
from selfevo.verifiers import CollectiveVote, Exact, Majority, verify
from selfevo.verifiers.collective_vote import elect


class Ctx:
    def __init__(self, name="vote"):
        self.name, self.logged = name, {}

    def value(self, number):
        return float(number)

    def rng(self, *key):
        return seeds.rng(0, *key)

    def log(self, name, value):
        self.logged[name] = value


def rows_of(votes, answer=None, task="q"):
    """One group: {role: its answers}; None is a reply without an answer."""
    out = []
    for role, answers in votes.items():
        for i, a in enumerate(answers):
            turn = Turn("policy", "no idea" if a is None else f"#### {a}")
            out.append(Row.of(Trajectory(f"{task}{role}{i}", Task({"question": task}, answer), role, f"{role}@0", (turn,), f"e{i}")))
    return out


def judged(votes, ctx=None, **settings):
    """{role: its rewards}."""
    rows = CollectiveVote(**settings)(rows_of(votes), ctx or Ctx())
    return {role: [r.reward("vote") for r in rows if r.trajectory.role == role] for role in votes}


def by_hand(votes):
    """The weighted vote in floats, as the formulas stand: {answer: score}."""
    scores = {}
    for answers in votes.values():
        k = len(answers)
        counts = {a: answers.count(a) for a in answers if a is not None}
        sc = max(counts.values(), default=0) / k
        for a, n in counts.items():
            scores[a] = scores.get(a, 0.0) + sc * n / k
    return scores


def test_scores_are_the_formulas():
    random.seed(0)
    for _ in range(50):
        votes = {m: random.choices(["1", "2", "3", None], k=random.randint(1, 6)) for m in "abc"}
        held, expected = elect(votes), by_hand(votes)
        assert {a: float(s) for a, s in held.scores.items()} == pytest.approx(expected)
        if expected:
            best = max(expected.values())
            assert float(held.share(held.winners[0])) == pytest.approx(best / sum(expected.values()))


@pytest.mark.parametrize("weight, ballots", [("consistency", "answers"), ("equal", "one"), ("consistency", "one")])
def test_one_policy_alone_is_its_own_majority(weight, ballots):
    random.seed(1)
    for _ in range(40):
        answers = random.choices(["1", "2", "3", None], k=7)
        rows = rows_of({"a": answers})
        ours = CollectiveVote(weight=weight, ballots=ballots)(rows, Ctx())
        ttrl = Majority(ties="abstain")(rows, Ctx())
        assert [r.reward("vote") for r in ours] == [r.reward("vote") for r in ttrl]


def test_equal_consistency_is_an_unweighted_majority_over_all_answers():
    votes = {"a": ["1", "1", "2", None], "b": ["2", "2", "3", "1"], "c": ["3", "2", "3", None]}  # SC is 1/2 in all three
    rows = rows_of(votes)
    assert [r.reward("vote") for r in CollectiveVote()(rows, Ctx())] == [r.reward("vote") for r in Majority()(rows, Ctx())]
    assert judged(votes) == judged(votes, weight="equal") == {"a": [0, 0, 1, 0], "b": [1, 1, 0, 0], "c": [0, 1, 0, 0]}


def test_a_consistent_policy_outvotes_two_that_waver():
    votes = {"a": ["7"] * 4, "b": ["1", "1", "2", "3"], "c": ["1", "1", "4", "5"]}
    assert judged(votes)["a"] == [1.0] * 4  # 1 against 2 x 1/2 x 1/2
    assert judged(votes, weight="equal")["b"] == [None] * 4  # 1 against 2 x 1/2: a tie


def test_a_collapsed_policy_wins_only_with_more_weight_than_the_rest_and_a_cap_bounds_it():
    stuck = ["0"] * 4
    assert judged({"a": stuck, "b": ["7", "7", "7", "8"], "c": ["7", "7", "7", "9"]})["a"] == [0.0] * 4  # 1 < 2 x 9/16
    weak = {"a": stuck, "b": ["7", "7", "8", "9"], "c": ["7", "7", "5", "6"]}
    assert judged(weak)["a"] == [1.0] * 4  # 1 > 2 x 1/4
    assert judged(weak, cap=0.49)["a"] != [0.0] * 4 and judged({**weak, "d": ["7", "7", "1", "2"]}, cap=0.5)["a"] == [0.0] * 4


def test_the_order_of_policies_and_rows_changes_nothing():
    votes = {"a": ["1", "1", "2", None], "b": ["2", "2", "2", "1"], "c": ["3", "2", "3", "3"], "d": [None] * 4}
    rows, order = rows_of(votes), list(range(16))
    for settings in ({}, {"ties": "random"}, {"reward": "share"}, {"weight": "agreement", "ballots": "one"}):
        plain = {r.trajectory.id: r.reward("vote") for r in CollectiveVote(**settings)(rows, Ctx())}
        for seed in range(5):
            random.Random(seed).shuffle(order)
            again = CollectiveVote(**settings)([rows[i] for i in order], Ctx())
            assert {r.trajectory.id: r.reward("vote") for r in again} == plain


def test_a_policy_counted_several_times_pulls_the_vote():
    votes = {"a": ["1", "1", "1", "2"], "b": ["2", "2", "2", "2"]}
    assert judged(votes)["b"] == [1.0] * 4
    assert judged({**votes, "a'": votes["a"], "a''": votes["a"]})["b"] == [0.0] * 4  # reported, not hidden: copies are not independent


def test_the_alternative_readings():
    votes = {"a": ["1", "1", "1", "2"], "b": ["2", "2", "3", "4"]}
    assert dict(elect(votes, ballots="one").scores) == {"1": Fraction(3, 4), "2": Fraction(1, 2)}
    agreement = elect(votes, weight="agreement").weights
    assert dict(agreement) == {"a": Fraction(6, 12), "b": Fraction(2, 12)}  # equal pairs among all pairs
    soft, held = judged(votes, reward="share"), elect(votes)
    assert soft["a"] == pytest.approx([float(held.share("1"))] * 3 + [float(held.share("2"))])
    assert sum(dict.fromkeys(soft["a"] + soft["b"])) <= 1 + 1e-12
    assert dict(elect({"a": ["1", "1", "2", "2"]}, ballots="one").scores) == {"1": Fraction(1, 4), "2": Fraction(1, 4)}


def test_ties_and_silence():
    tied = {"a": ["1", "1"], "b": ["2", "2"]}
    assert judged(tied) == {"a": [None, None], "b": [None, None]}
    assert judged(tied, ties="first") == {"a": [1, 1], "b": [0, 0]}
    assert sorted(map(tuple, judged(tied, ties="random").values())) == [(0, 0), (1, 1)]
    silent = CollectiveVote()(rows_of({"a": [None], "b": [None, None]}), ctx := Ctx())
    assert {r.score.statuses["vote"] for r in silent} == {"abstain"} and ctx.logged["vote/abstained"] == 1
    assert judged({"a": ["1", "1"], "b": [None, None]})["b"] == [0, 0]
    assert judged({"a": ["1"], "b": [None]}) == {"a": [1], "b": [0]}  # groups of one


def test_separate_elections_within_a_group():
    votes = {"a": ["1", "1", "2"], "b": ["2", "2", "2"]}
    assert judged(votes, among=["group", "role"]) == {"a": [1, 1, 0], "b": [1, 1, 1]}
    assert judged(votes) == {"a": [0, 0, 1], "b": [1, 1, 1]}


def test_a_label_that_is_the_reference_gives_the_supervised_rewards():
    rows = rows_of({"a": ["4", "5", None], "b": ["4", "4", "9"]}, "4")
    out = verify({"exact": Exact(), "vote": CollectiveVote()}, rows, Ctx)
    assert [r.reward("exact") for r in out] == [r.reward("vote") for r in out]


def test_metrics_and_info():
    votes = {"a": ["1", "1", "1", "2"], "b": ["1", "3", None, None]}
    rows = CollectiveVote()(rows_of(votes), ctx := Ctx())
    assert ctx.logged["vote/weight/a"] == 0.75 and ctx.logged["vote/weight/b"] == 0.25
    total = 0.75 + 0.25 * 0.5
    assert ctx.logged["vote/consistency"] == pytest.approx((0.75**2 + 0.25**2) / total)
    assert rows[0].score.info["label"] == "1" and rows[4].score.info["consistency"] == "0.25"


def test_a_suite_measures_each_policy_and_the_vote():
    rows = rows_of({"a": ["1", "1"], "b": ["2", "1"]}, "1", "t") + rows_of({"a": ["5", "6"], "b": ["7", "7"]}, "7", "u")
    rows = verify({"exact": Exact()}, rows, Ctx)
    out = Collective()(rows, lambda r: r.reward("exact") == 1)
    assert out["pass@1/role=a"] == 0.5 and out["pass@1/role=b"] == 0.75
    assert out["vote"] == 1.0 and out["vote/weighted"] == 1.0
    assert out["error_correlation"] == pytest.approx(-1.0)
    assert Collective()(list(reversed(rows)), lambda r: r.reward("exact") == 1) == out


@pytest.mark.parametrize("settings", [{"weight": "confidence"}, {"ballots": "two"}, {"ties": "last"}, {"reward": "soft"}, {"cap": 0.0}])
def test_wrong_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        CollectiveVote(**settings)


@pytest.mark.slow
def test_one_policy_trains_the_same_weights_as_ttrl(tmp_path):
    """N = 1: the vote of one seat against `Majority` on the plain loop, the same seeds, down to the weights."""
    same = ["scale=tiny", "task=chain_sum", "optimizer.lr=1.0e-3", "optimizer.objective.kl=null"]
    ttrl = run_in(tmp_path / "ttrl", [*same, "verifier=majority", "verifier.majority.ties=abstain"])
    vote = "+verifier.vote={_target_: selfevo.verifiers.CollectiveVote}"
    seat = [
        "stages.rollout.role=null",
        "+stages.rollout.seats={solver: solver}",
        "stages.rollout.strategy={_target_: selfevo.rollouts.Each}",
    ]
    ours = run_in(tmp_path / "ours", [*same, vote, *seat])
    assert isinstance(ours.run.stages["rollout"].strategy, Each)
    assert all(torch.equal(ours.tensors()[name], tensor) for name, tensor in ttrl.tensors().items())
