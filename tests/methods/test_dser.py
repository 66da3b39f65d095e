"""Deep Self-Evolving Reasoning (arXiv:2510.17498): chains whose policy is a known two-state process, and what is read off them."""

from __future__ import annotations

import asyncio
import itertools
import math
import random

import pytest
from real_runs import run_in

from selfevo import seeds
from selfevo.codec import ByteCodec
from selfevo.evals import Hops, Suite
from selfevo.evals.hops import accuracy_at
from selfevo.protocols import Completion, Sampling
from selfevo.records import Message, Row, Task
from selfevo.rollouts import Chain, Talk
from selfevo.verifiers import Exact
from selfevo.verifiers.run import verify

CODEC = ByteCodec()
COUNT = itertools.count()


class Ctx:
    def seed(self, *key):
        return seeds.derive(*key)


class TwoStates:
    """A seat that solves with chance `start`, then goes from wrong to right with chance p_ic and back with p_ci, whatever a critique
    says. Wrong answers are one of `wrongs`; with `mute` every wrong solution has no answer that can be read."""

    name = "solver"

    def __init__(self, chain, start, p_ic, p_ci, wrongs=("9",), mute=False):
        self.rng, self.start, self.p_ic, self.p_ci = random.Random(f"{chain}{start}{p_ic}{p_ci}"), start, p_ic, p_ci
        self.wrongs, self.mute, self.seen, self.chain = wrongs, mute, [], chain

    def open(self, task, prompt=None, **variables):
        async def speak(context, sampling, key):
            if prompt == "verify":
                text = "#### yes"  # a verifier that is always content
            elif prompt is None:
                text = self._say(task, self.start)
            else:
                self.seen.append(variables["response"])
                right = variables["response"].endswith(f"#### {task.answer}")
                text = self._say(task, 1 - self.p_ci if right else self.p_ic, variables["response"])
            ids = (*CODEC.fragment(text), CODEC.END)
            return Completion(ids, None, text, "stop")

        return Talk(
            codec=CODEC, task=task, context=CODEC.open([Message("user", "q")]), role="solver", policy="solver@0",
            sampling=Sampling(), generate=speak, new_id=lambda: f"t{next(COUNT)}", episode=f"{task.id}/{self.chain}",
            keys={"group": task.id},
        )  # fmt: skip

    def _say(self, task, p, before=""):
        if self.rng.random() < p:
            return f"#### {task.answer}"
        if before and not before.endswith(f"#### {task.answer}"):
            return before  # a wrong answer that stays wrong stays the same one
        return "no idea" if self.mute else f"#### {self.rng.choice(self.wrongs)}"


def simulate(tasks, chains, hops, *process, verify_prompt="verify", **more):
    """Judged rows of `chains` chains for each of `tasks` tasks."""
    strategy, out = Chain(hops, verify=verify_prompt), []
    for k in range(tasks):
        task = Task({"question": f"q{k}"}, answer="4")
        for chain in range(chains):
            seat = TwoStates(f"{k}.{chain}", *process, **more)
            out += asyncio.run(strategy.run(task, {"solver": seat}, None, Ctx()))
    return verify({"exact": Exact()}, [Row.of(t) for t in out], lambda name: type("Named", (), {"name": name})())


def solved(row):
    return row.reward("score") == 1.0


@pytest.fixture(scope="module")
def improving():
    return simulate(40, 5, 12, 0.2, 0.3, 0.1)


def test_accuracy_at_every_hop_is_that_of_the_closed_form(improving):
    found = Hops()(improving, solved)
    n = 40 * 5
    for hop in range(13):
        expected = accuracy_at(hop, found["pass@1/hop=0"], 0.3, 0.1)
        assert found[f"pass@1/hop={hop}"] == pytest.approx(expected, abs=4 * math.sqrt(0.25 / n))
    assert found["p_ic"] == pytest.approx(0.3, abs=0.05)
    assert found["p_ci"] == pytest.approx(0.1, abs=0.03)
    assert found["stationary"] == pytest.approx(0.75, abs=0.07)
    assert found["mixing"] == pytest.approx(0.6, abs=0.07)


def test_the_closed_form_is_the_recursion():
    p, p_ic, p_ci = 0.35, 0.2, 0.05
    for hop in range(30):
        assert accuracy_at(hop, 0.35, p_ic, p_ci) == pytest.approx(p)
        p = p * (1 - p_ci) + (1 - p) * p_ic
    assert accuracy_at(10_000, 0.35, p_ic, p_ci) == pytest.approx(0.8)
    assert accuracy_at(7, 0.35, 0.0, 0.0) == 0.35


@pytest.mark.parametrize("p_ic, p_ci, rises", [(0.3, 0.15, True), (0.15, 0.3, False)])
def test_with_two_answers_more_votes_help_iff_p_ic_exceeds_p_ci(p_ic, p_ci, rises):
    rows = simulate(40, 5, 12, 0.5, p_ic, p_ci, verify_prompt=None)
    single = Hops(1)([r for r in rows if r.trajectory.episode.endswith(".0")], solved)["vote"]
    many = Hops(6)(rows, solved)["vote"]
    assert (many > single) == rises
    assert (many > 0.85) if rises else (many < 0.15)


def test_spread_wrong_answers_let_the_right_one_win_with_less_than_half(improving):
    wrongs = tuple(map(str, range(10, 40)))
    rows = simulate(30, 8, 10, 0.2, 0.1, 0.2, wrongs=wrongs, verify_prompt=None)
    found = Hops(5)(rows, solved)
    assert found["stationary"] < 0.45
    assert found["vote"] > 0.85


def test_chains_that_never_change_vote_the_same_at_every_hop():
    votes = {Hops(1)(simulate(20, 5, hops, 0.5, 0.0, 0.0), solved)["vote"] for hops in (0, 3, 9)}
    assert len(votes) == 1


def test_no_hops_are_self_consistency():
    rows = simulate(30, 6, 0, 0.5, 0.3, 0.1, wrongs=("8", "9"))
    suite = Suite("s", _Listed(), None, 6, {"exact": Exact()}, bootstrap=0)
    found = Hops(10)(rows, solved)
    assert found["vote"] == found["vote/first"] == pytest.approx(suite.metrics(rows)["eval/s/maj@6"])
    assert math.isnan(found["p_ic"])


def test_an_answer_nobody_can_read_is_a_wrong_state_from_which_the_chain_goes_on():
    seat = TwoStates("x", 0.0, 0.2, 0.0, mute=True)
    task = Task({"question": "q"}, answer="4")
    chain = asyncio.run(Chain(30, verify="verify").run(task, {"solver": seat}, None, Ctx()))
    assert seat.seen[0] == "no idea"
    assert chain[-1].text == "#### 4"
    rows = verify({"exact": Exact()}, [Row.of(t) for t in chain], lambda name: type("Named", (), {"name": name})())
    found = Hops(3)(rows, solved)
    assert (found["pass@1/hop=0"], found["pass@1/hop=30"], found["vote"]) == (0.0, 1.0, 1.0)
    assert found["p_ci"] == 0.0


class _Listed:
    categories, levels = (), ()

    def __len__(self):
        return 1

    def __iter__(self):
        return iter((Task({"question": "unused"}),))

    def draw(self, rng, category=None, level=None):
        return Task({"question": "unused"})


@pytest.mark.slow
def test_a_run_measures_chains_and_counts_final_solutions_only(tmp_path):
    run = run_in(tmp_path / "run", ["experiment=tiny/dser", "scale=tiny", "rollout.hops=3"])
    rows = run.rows("main", "evaluate")
    assert len(rows) == 8 * 2 * (1 + 2 * 3)
    assert sum(r.trajectory.final for r in rows) == 16
    at = {name: run.metric("evaluate", f"eval/chain_sum/{name}")[-1] for name in ("pass@1", "samples", "chain/pass@1/hop=3", "chain/vote")}
    assert at["pass@1"] == at["chain/pass@1/hop=3"]
    assert at["samples"] == 16
    tokens = run.metric("evaluate", "eval/chain_sum/generated_tokens")[-1]
    assert tokens == sum(r.trajectory.cost.generated_tokens for r in rows)
