"""MCTS-DPO (arXiv:2405.00451): pairs of steps, their smoothing, and the loss on what differs."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field

import pytest
import torch
from real_runs import run_in

from selfevo import seeds
from selfevo.codec import ByteCodec
from selfevo.errors import UserError
from selfevo.learning.batch import TermBatch
from selfevo.objectives import DPO
from selfevo.protocols import Completion, Sampling
from selfevo.records import Message, Row, Sample, Task, Trajectory, Turn
from selfevo.rollouts import MonteCarlo, StepValue, Talk, Tree
from selfevo.samples import Pairs, SiblingPairs
from selfevo.verifiers import Exact


@dataclass
class Ctx:
    name: str = ""
    logged: dict = field(default_factory=dict)

    def value(self, number):
        return float(number)

    def log(self, name, value):
        self.logged[name] = value

    def rng(self, *key):
        return seeds.rng(*key)


def step(name, parent, tokens, q=0.0, visits=1, path="yes", before=(), episode="e"):
    """A judged row of a tree: `tokens` after the turns of `before`."""
    turns = (*(before.trajectory.turns if before else ()),)
    context = (9, *(i for turn in turns for i in turn.tokens))
    turn = Turn("policy", str(tokens), tuple(tokens), (-0.1,) * len(tokens), context, "solver@0")
    keys = {"path": path, "group": "g"}
    t = Trajectory(name, Task({"q": "1"}), "solver", "solver@0", (*turns, turn), episode, keys, parent=parent, prefix=len(context) - 1)
    return Row.of(t).rewarded("visits", visits).rewarded("q", q)


def pairs(rows, **settings):
    ctx = Ctx()
    return SiblingPairs(**settings).build(rows, ctx), ctx.logged


def test_the_best_step_is_preferred_to_the_worst_from_the_first_token_that_differs():
    rows = [step("a", "r", (1, 2, 3, 4), q=0.2), step("b", "r", (1, 2, 5), q=0.9, visits=3), step("c", "r", (7,), q=0.5)]
    (chosen, rejected), logged = pairs(rows)
    assert (chosen.row, rejected.row, chosen.unit, chosen.place, rejected.place) == (1, 0, rejected.unit, 0, 1)
    assert (chosen.response, chosen.columns["mask"]) == ((1, 2, 5), (0.0, 0.0, 1.0))
    assert (rejected.response, rejected.columns["mask"]) == ((1, 2, 3, 4), (0.0, 0.0, 1.0, 1.0))
    assert chosen.contexts == rejected.contexts == {"train": (9,)}
    assert chosen.columns["smoothing"] == rejected.columns["smoothing"] == 0.25
    assert logged["train/pairs"] == 1


@pytest.mark.parametrize("best, worst, least, a", [
    (3, 1, 0, 0.25), (3, 1, 1, 0.25), (4, 4, 0, 0.5), (1, 3, 0, 0.5), (0, 2, 0, 0.5), (0, 2, 1, 0.5), (0, 0, 0, 0.5), (0, 0, 1, 0.0),
    (5, 0, 0, 0.0), (0, 1, 1, 0.5),
])  # fmt: skip
def test_smoothing_is_the_share_of_visits_of_the_worse_step_at_most_one_half(best, worst, least, a):
    # paper: N_l / (N_w + N_l); code: max(1, N_w) in its place
    (chosen, _), _ = pairs([step("a", "r", (1,), q=1.0, visits=best), step("b", "r", (2,), q=0.0, visits=worst)], least=least)
    assert chosen.columns["smoothing"] == a


def test_equal_values_and_mere_beginnings_give_no_pair():
    assert pairs([step("a", "r", (1,), q=0.5), step("b", "r", (2,), q=0.5)])[0] == []
    assert pairs([step("a", "r", (1,), q=0.5), step("b", "r", (2,), q=0.4)], margin=0.2)[0] == []
    assert pairs([step("a", "r", (1, 2), q=0.5), step("b", "r", (1,), q=0.4)])[0] == []
    assert pairs([step("a", "r", (1,), q=0.5)])[0] == []


def test_a_step_is_joined_with_the_only_one_that_follows_it():
    a, b = step("a", "r", (1,), q=1.0), step("b", "r", (2,), q=0.0)
    c = step("c", "a", (3,), before=a)
    d, e = step("d", "c", (4,), q=1.0, before=c), step("e", "c", (5,), q=0.0, before=c)
    samples, _ = pairs([a, b, c, d, e])
    assert [s.response for s in samples] == [(1, 3), (2,), (4,), (5,)]
    assert samples[2].contexts["train"] == (9, 1, 3)


def test_only_siblings_of_the_chosen_line_are_compared_and_only_so_many_of_an_episode():
    rows = []
    for episode in "xy":
        before, parent = (), f"{episode}root"
        for depth in range(3):
            rows += [
                step(f"{episode}{depth}a", parent, (1,), 1.0, before=before, episode=episode),
                step(f"{episode}{depth}b", parent, (2,), 0.0, before=before, episode=episode),
            ]
            before, parent = rows[-2], f"{episode}{depth}a"
        rows += [step(f"{episode}off{k}", f"{episode}0b", (k,), float(k), path="no", episode=episode) for k in (3, 4)]
    assert len(pairs(rows)[0]) / 2 == 6
    assert len(pairs(rows, which="all")[0]) / 2 == 8
    assert [s.row for s in pairs(rows, limit=2)[0][:4]] == [0, 1, 2, 3]
    assert len(pairs(rows, limit=2)[0]) / 2 == 4


@pytest.mark.parametrize("bad", [{"which": "some"}, {"least": -1}, {"limit": 0}])
def test_settings_that_mean_nothing_are_refused(bad):
    with pytest.raises(UserError, match="SiblingPairs"):
        SiblingPairs(**bad)


class Written:
    def __init__(self, logp):
        self._logp = logp

    def logp(self):
        return self._logp

    def other(self, name):
        raise KeyError(name)


def loss_of(term, smoothings, theta, reference, masks=None):
    """The term's loss per pair, and the leaf [rows, T] it depends on."""
    logp = torch.tensor(theta, requires_grad=True)
    samples = []
    for i, row in enumerate(theta):
        columns = {"smoothing": smoothings[i // 2], "mask": tuple(masks[i]) if masks else 1.0}
        samples.append(Sample(f"s{i}", (1,) * len(row), {"train": (1,)}, columns, unit=f"u{i // 2}", place=i % 2))
    batch = TermBatch(samples, {"logp:base": reference}, Written(logp), torch.device("cpu"), float).at(range(len(samples)))
    return term.loss(batch, {}), logp


THETA, REFERENCE = [[-1.0, -2.0], [-1.5, -0.5], [-0.2, -0.3], [-3.0, -1.0]], [[-1.2, -1.0], [-1.0, -1.0], [-0.5, -0.1], [-2.0, -0.5]]


def test_without_smoothing_it_is_dpo_and_with_equal_smoothing_conservative_dpo():
    plain, _ = loss_of(DPO("base"), [0.0, 0.0], THETA, REFERENCE)
    column, _ = loss_of(DPO("base", smoothing="smoothing"), [0.0, 0.0], THETA, REFERENCE)
    assert torch.equal(plain, column)
    fixed, _ = loss_of(DPO("base", label_smoothing=0.25), [0.0, 0.0], THETA, REFERENCE)
    same, _ = loss_of(DPO("base", smoothing="smoothing"), [0.25, 0.25], THETA, REFERENCE)
    assert torch.allclose(fixed, same)
    with pytest.raises(UserError, match="either"):
        DPO("base", label_smoothing=0.1, smoothing="smoothing")


def test_each_pair_has_its_own_smoothing():
    found, _ = loss_of(DPO("base", beta=0.5, smoothing="smoothing"), [0.1, 0.4], THETA, REFERENCE)
    for u, a in enumerate((0.1, 0.4)):
        w, l = (sum(t - r for t, r in zip(THETA[i], REFERENCE[i], strict=True)) for i in (2 * u, 2 * u + 1))
        z = 0.5 * (w - l)
        assert found[u].item() == pytest.approx((1 - a) * math.log1p(math.exp(-z)) + a * math.log1p(math.exp(z)), rel=1e-5)


def test_equal_visits_give_no_gradient_at_equal_policies_and_pull_h_to_zero():
    term = DPO("base", smoothing="smoothing")
    loss, logp = loss_of(term, [0.5, 0.5], REFERENCE, REFERENCE)
    loss.sum().backward()
    assert logp.grad.abs().max() == 0
    loss, logp = loss_of(term, [0.5, 0.5], THETA, REFERENCE)
    loss.sum().backward()
    for u in range(2):
        w, l = (sum(THETA[i]) - sum(REFERENCE[i]) for i in (2 * u, 2 * u + 1))
        assert math.copysign(1, float(logp.grad[2 * u, 0])) == math.copysign(1, w - l)  # descent lowers |h|


def test_tokens_that_both_begin_with_change_nothing():
    shared_t, shared_r = [[-0.7, *row] for row in THETA], [[-0.4, *row] for row in REFERENCE]
    masked, leaf = loss_of(DPO("base"), [0, 0], shared_t, shared_r, masks=[[0.0, 1.0, 1.0]] * 4)
    whole, _ = loss_of(DPO("base"), [0, 0], shared_t, shared_r)
    suffix, _ = loss_of(DPO("base"), [0, 0], THETA, REFERENCE)
    assert torch.allclose(masked, suffix)
    assert torch.allclose(whole, suffix)  # in exact arithmetic they cancel
    masked.sum().backward()
    assert leaf.grad[:, 0].abs().max() == 0


CODEC = ByteCodec()


class Guess:
    """A seat that answers at once, rightly with chance 1/2."""

    name = "solver"

    def __init__(self):
        self.made = 0

    def open(self, task, prompt=None, **variables):
        async def speak(context, sampling, key):
            text = f"#### {seeds.rng(task.id, *key).choice('4789')}" if seeds.rng("right", task.id, *key).random() < 0.5 else "#### 4"
            ids = (*CODEC.fragment(text), CODEC.END)
            return Completion(ids, (-0.5,) * len(ids), text, "stop")

        def new_id():
            self.made += 1
            return f"{task.id}.{self.made}"

        context = CODEC.open([Message("user", task.vars["q"])])
        return Talk(
            codec=CODEC, task=task, context=context, role="solver", policy="solver@0", sampling=Sampling(),
            generate=speak, new_id=new_id, episode=task.id, keys={"group": task.id},
        )  # fmt: skip


def test_breadth_two_depth_one_and_whole_replies_are_outcome_labelled_dpo_pairs():
    value = StepValue({"success": MonteCarlo(Exact())}, Exact(), inherit=False)
    tree = Tree(value, simulations=2, root_factor=1, depth=1, stop=("\n",))
    rows = []
    for k in range(20):
        steps = asyncio.run(tree.run(Task({"q": f"{k}"}, answer="4"), {"solver": Guess()}, None, Ctx()))
        assert len(steps) <= 2
        for t in steps:
            right = t.text == "#### 4"
            q = float(t.keys["env:q"])
            assert q == float(t.keys["env:value"]) == (2.0 if right else -1.0)  # Q is the value
            rows.append(Row.of(t).rewarded("visits", float(t.keys["env:visits"])).rewarded("q", q).rewarded("score", float(right)))
    found, _ = pairs(rows)
    labelled = Pairs(reward="score").build(rows, Ctx())
    assert len(found) == len(labelled) > 4
    assert [(s.response, s.contexts["train"], s.row) for s in found] == [(s.response, s.contexts["train"], s.row) for s in labelled]


@pytest.mark.slow
def test_a_run_searches_pairs_and_learns(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/mcts_dpo", "scale=tiny"])
    rows = run.rows("main.0", "rollout")
    assert sum(r.trajectory.final for r in rows) == 4
    assert run.metric("train", "train/pairs")[0] >= 1
    assert run.metric("rollout", "rollout/discarded_tokens")[0] > 0
    assert run.metric("train", "train/dpo")[0] == pytest.approx(math.log(2), abs=1e-6)  # h = 0 at the start of every update
    offline = run_in(tmp_path / "offline", ["experiment=tiny/mcts_dpo", "scale=tiny", "roles.searcher.policy=solver@base"])
    assert {r.trajectory.policy for r in offline.rows("main.1", "rollout")} == {"solver@000000"}
    assert {r.trajectory.policy for r in run.rows("main.1", "rollout")} == {"solver@000001"}
