"""SCoRe (arXiv:2409.12917): shaped returns, and which turn each term reaches."""

from __future__ import annotations

import pytest
import torch
from real_runs import STEP_IS_GRADIENT, run_in

from selfevo.advantages import ByKey, LeaveOneOut
from selfevo.errors import UserError
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.samples import PolicyTurns
from selfevo.verifiers import Progress

SMALL = ["experiment=tiny/score", "scale=tiny", "scale.tasks=2", *(s for s in STEP_IS_GRADIENT if "optimizer" in s)]
INIT = [*SMALL, *(f"stages.init.{s}" for s in STEP_IS_GRADIENT if "optimizer" in s), "stages.train=null", "loop.second=null",
        "stages.init.optimizer.shares=null"]  # fmt: skip
SHAPED = [*SMALL, "stages.init=null", "loop.first=null"]
ONE = ["scale.iterations=1", "checkpoint.every=1"]


class Ctx:
    def __init__(self, name="shaped"):
        self.name, self.logged = name, {}

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.logged[name] = value


def conversation(k, first, second, group="g"):
    """Two judged rows: the first attempt, and the second one that follows it."""
    rows, turns = [], ()
    for hop, reward in enumerate((first, second)):
        turns = (*turns, Turn("policy", "", (5, 6), (-1.0, -2.0), (1,), "solver@0"))
        parent = f"{k}.{hop - 1}" if hop else None
        t = Trajectory(
            f"{k}.{hop}",
            Task({"q": group}),
            "solver",
            "solver@0",
            turns,
            f"e{k}",
            {"group": group, "hop": str(hop)},
            parent=parent,
            prefix=2 * hop,
        )
        row = Row.of(t)
        rows.append(row.failed("exact", "error", "broke") if reward is None else row.rewarded("exact", reward))
    return rows


@pytest.mark.parametrize("alpha", [0.0, 1.0, 10.0])
@pytest.mark.parametrize("first, second, total", [(0, 0, "0"), (1, 1, "2"), (0, 1, "1 + alpha"), (1, 0, "1 - alpha")])
def test_shaped_returns_are_those_of_the_table(first, second, total, alpha):
    rows = Progress("exact", alpha)(conversation(0, first, second), Ctx())
    assert sum(r.reward("shaped") for r in rows) == eval(total, {"alpha": alpha})
    assert rows[0].reward("shaped") == first  # the bonus belongs to the second attempt alone


def test_a_missing_reward_is_never_read_as_zero():
    a, b = Progress("exact", 10.0)(conversation(0, None, 1), Ctx())
    assert (a.score.statuses["shaped"], b.score.statuses["shaped"]) == ("error", "abstain")
    a, b = Progress("exact", 10.0)(conversation(0, 1, None), Ctx())
    assert (a.reward("shaped"), b.score.statuses["shaped"]) == (1.0, "error")
    with pytest.raises(UserError, match="'exact'"):
        Progress("exat")(conversation(0, 1, 1), Ctx())
    with pytest.raises(UserError, match="alpha"):
        Progress("exact", -1.0)


def test_baselines_are_per_turn_and_leave_the_row_out():
    rows = [r for k, pair in enumerate([(0, 1), (1, 1), (0, 0)]) for r in conversation(k, *pair)]
    shaped = Progress("exact", 10.0)(rows, Ctx())
    samples = PolicyTurns("shaped", prefix="mask").build(shaped, Ctx())
    assert [sum(s.columns["mask"]) for s in samples] == [2] * 6
    found = LeaveOneOut("shaped", by=["group", "hop"])(samples, shaped, Ctx())
    # first attempts 0, 1, 0; shaped second ones 11, 1, 0
    assert found[::2] == pytest.approx([-0.5, 1.0, -0.5])
    assert found[1::2] == pytest.approx([11 - 0.5, 1 - 5.5, 0 - 6.0])
    with_less = LeaveOneOut("shaped", by=["group", "hop"])(samples, Progress("exact", 0.0)(rows, Ctx()), Ctx())
    assert with_less[::2] == found[::2]  # no alpha reaches the first attempt


def test_a_column_by_key_is_a_mask_or_a_weight():
    rows = conversation(0, 0, 1)
    samples = PolicyTurns("exact", prefix="mask").build(rows, Ctx())
    assert ByKey("hop", {"1": 1.0})(samples, rows, Ctx()) == [0.0, 1.0]
    assert ByKey("hop", {"0": 0.1, "1": 0.01}, default=None)(samples, rows, Ctx()) == [0.1, 0.01]
    with pytest.raises(UserError, match="key 'hop' is '1'"):
        ByKey("hop", {"0": 0.1}, default=None)(samples, rows, Ctx("beta"))
    with pytest.raises(UserError, match="no key 'turn'"):
        ByKey("turn", {"0": 0.1})(samples, rows, Ctx("beta"))
    with pytest.raises(UserError, match="empty"):
        ByKey("hop", {})


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights after a run with these overrides."""

    def after(*overrides):
        run = run_in(tmp_path_factory.mktemp("run") / "run", [*overrides, *ONE])
        return torch.cat([t.flatten() for _, t in sorted(run.tensors().items())])

    return after


@pytest.mark.slow
def test_in_stage_one_the_first_turn_feels_the_kl_alone(weights):
    whole = weights(*INIT)
    # at the base policy the KL has no gradient (but for rounding), so the second turn's is all there is
    without = weights(*INIT, "stages.init.optimizer.objective.kl_first=null", "stages.init.optimizer.objective.kl_second=null")
    assert torch.allclose(whole, without, atol=1e-5)
    assert torch.allclose(whole, weights(*INIT, "+stages.init.where={hop: '1'}"), atol=1e-5)
    assert float((whole - weights(*INIT, "stages.init.optimizer.objective.pg.where=first")).abs().max()) > 1e-3


@pytest.mark.slow
def test_with_one_turn_and_no_bonus_it_is_reinforce_with_a_kl(weights):
    one = ["rollout.max_turns=1", "verifier.shaped.alpha=0", "scale.iterations=2"]
    score = weights(*SHAPED, *one, "optimizer.objective.pg.length=1.0")
    rloo = weights("experiment=tiny/score", "scale=tiny", "optimizer=rloo", *SHAPED[2:], *one, "optimizer.objective.kl.coef=0.01")
    assert torch.allclose(score, rloo, atol=1e-7)
    assert float((score - weights(*SHAPED, *one, "optimizer.objective.pg.length=2.0")).abs().max()) > 1e-5


@pytest.mark.slow
def test_both_stages_run_and_the_evaluation_reports_the_table(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/score", "scale=tiny"])
    assert [line["stage"] for line in run.lines if line["stage"] in ("init", "train")] == ["init", "init", "train", "train"]
    last = run.lines[-1]["metrics"]
    assert last["eval/chain_sum/turns/delta"] == pytest.approx(last["eval/chain_sum/turns/d_ic"] - last["eval/chain_sum/turns/d_ci"])
    assert last["eval/chain_sum/turns/acc2"] == last["eval/chain_sum/pass@1"]
