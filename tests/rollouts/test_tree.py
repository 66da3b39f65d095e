"""Search trees: bookkeeping held against an independent reading of what was recorded, budgets, and what nodes are worth."""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter

import pytest

from selfevo import seeds
from selfevo.errors import UserError
from selfevo.protocols import Completion, Sampling
from selfevo.records import Message, Task, Trajectory, Turn
from selfevo.rollouts import MonteCarlo, SelfEvaluation, StepValue, Talk, Tree
from selfevo.rollouts.tree import Node
from selfevo.rollouts.values import Place, Worth
from selfevo.verifiers import Exact


class Bits:
    """A seat that writes three lines of one digit each (0 or 1, seeded) and then their sum as its answer."""

    name = "solver"

    def __init__(self, codec, logprobs=True, ones=0.5):
        self.codec, self.logprobs, self.ones, self.tokens, self.made, self.seen = codec, logprobs, ones, 0, 0, []

    def open(self, task, prompt=None, **variables):
        self.seen.append((prompt, variables))
        context = self.codec.open([Message("user", task.vars["question"])])

        async def speak(ids, sampling, key):
            rng = seeds.rng(*key)
            lines = bytes(i for i in ids[len(context) :] if i < 256).decode().splitlines()
            text = ""
            while True:
                piece = f"{int(rng.random() < self.ones)}\n" if len(lines) < 3 else f"#### {sum(map(int, lines))}"
                text, lines = text + piece, [*lines, piece.strip()]
                if len(lines) > 3 or (sampling.stop and piece.endswith(sampling.stop)):
                    break
            done = (*self.codec.fragment(text), *([self.codec.END] if len(lines) > 3 else []))[: sampling.max_tokens]
            self.tokens += len(done)
            drawn = tuple(-0.5 for _ in done) if self.logprobs else None
            return Completion(done, drawn, self.codec.decode(done), "stop" if len(done) < sampling.max_tokens else "length")

        def new_id():
            self.made += 1
            return f"t{self.made}"

        return Talk(
            codec=self.codec, task=task, context=context, role="solver", policy="solver@0", sampling=Sampling(max_tokens=60),
            generate=speak, new_id=new_id, episode="e0", keys={"group": "g"},
        )  # fmt: skip


class Ctx:
    name = "value"

    def __init__(self):
        self.asked = []

    async def logprobs(self, seat, context, tokens):
        self.asked.append((context, tokens))
        return [math.log(0.5)] * len(tokens)


TASK = Task({"question": "three ones?"}, answer="3")


def grown(codec, seat=None, value=None, **settings):
    """The seat and the recorded steps of one tree."""
    seat = seat or Bits(codec)
    tree = Tree(value or MonteCarlo(Exact(), samples=2), **{"simulations": 4, "root_factor": 2, **settings})
    return seat, asyncio.run(tree.run(TASK, {"solver": seat}, None, Ctx()))


def number(t, name):
    return float(t.keys[f"env:{name}"])


def children_of(steps):
    below = {}
    for t in steps:
        below.setdefault(t.parent, []).append(t)
    return below


def test_every_step_is_recorded_once_after_the_one_it_extends(codec):
    _, steps = grown(codec)
    by_id = {t.id: t for t in steps}
    assert len(by_id) == len(steps) > 8
    seen = set()
    for t in steps:
        before = by_id.get(t.parent)
        assert (before is None) == (t.keys["depth"] == "1")
        if before is not None:
            assert t.parent in seen
            assert t.turns[:-1] == before.turns
            assert t.prefix == sum(len(turn.tokens) for turn in before.turns)
        seen.add(t.id)
    [final] = [t for t in steps if t.final]
    assert final.status == "finished"
    assert final.text.endswith("####" + final.text.rpartition("####")[2])
    on_path = [t for t in steps if t.keys["path"] == "yes"]
    assert [t.text for t in on_path] == [final.text[: len(t.text)] for t in on_path]
    assert {t.status for t in steps if t not in on_path} == {"pruned"}
    assert {t.status for t in on_path} == {"finished"}


def test_visits_and_values_are_those_of_the_definition(codec):
    _, steps = grown(codec, simulations=6, gamma=0.9)
    below = children_of(steps)
    checked = 0
    for t in (t for t in steps if t.keys["path"] == "no"):  # numbers of the others are those of the moment they were chosen
        mine = below.get(t.id, [])
        if mine and number(t, "visits"):
            assert sum(number(c, "visits") for c in mine) == number(t, "visits")
        if number(t, "visits"):
            V = (
                sum(max(1, number(c, "visits")) * number(c, "q") for c in mine) / sum(max(1, number(c, "visits")) for c in mine)
                if mine
                else 0
            )
            parent = next((p for p in steps if p.id == t.parent), None)
            gain = number(t, "value") - (number(parent, "value") if parent else 0.0)
            assert number(t, "q") == pytest.approx(gain + 0.9 * V)
            checked += 1
    assert checked > 5
    first = below[steps[0].parent]
    assert sum(number(c, "visits") for c in first) == 12


def test_siblings_differ_and_share_their_parent(codec):
    _, steps = grown(codec, breadth=3)
    for parent, mine in children_of(steps).items():
        assert len({t.turns[-1].text for t in mine}) == len(mine) <= 3, parent


def test_every_token_is_kept_or_counted_as_discarded(codec):
    seat, steps = grown(codec, breadth=3)
    assert sum(t.cost.generated_tokens + t.cost.discarded_tokens for t in steps) == seat.tokens
    assert sum(t.cost.generated_tokens for t in steps) == sum(len(t.turns[-1].tokens) for t in steps)
    assert sum(t.cost.discarded_tokens for t in steps) > 0


def test_equal_steps_become_one_and_cost_what_they_cost(codec):
    _, steps = grown(codec, Bits(codec, ones=1.1), value=_Zero(), breadth=4, simulations=1, root_factor=1)
    assert [t.turns[-1].text for t in steps] == ["1\n", "1\n", "1\n", "#### 3"]
    assert sum(t.cost.discarded_tokens for t in steps) == 3 * 3 * 2
    assert sum(t.cost.calls for t in steps) == 4 * 3 + 1


class _Zero:
    async def __call__(self, place, ctx):
        return Worth(0.0)


def test_after_the_branching_steps_one_goes_on_to_the_end(codec):
    _, steps = grown(codec, depth=1)
    assert {t.keys["depth"] for t in steps} == {"1", "2"}
    assert all(t.text.count("\n") == 3 for t in steps if t.keys["depth"] == "2")
    assert all(len(mine) == 1 for parent, mine in children_of(steps).items() if parent != steps[0].parent)


def test_the_search_finds_the_rewarded_line(codec):
    found = Counter(next(t for t in grown(codec, _Seeded(codec, k), simulations=8)[1] if t.final).text[-1] for k in range(12))
    plain = sum(all(seeds.rng("plain", k, i).random() < 0.5 for i in range(3)) for k in range(12))
    assert found["3"] >= 9 > plain


class _Seeded(Bits):
    """The same with other draws."""

    def __init__(self, codec, seed):
        super().__init__(codec)
        self.seed = seed

    def open(self, task, prompt=None, **variables):
        talk = super().open(task, prompt, **variables)
        speak = talk._generate

        async def other(ids, sampling, key):
            return await speak(ids, sampling, (self.seed, *key))

        talk._generate = other
        return talk


def test_a_tree_repeats_itself(codec):
    assert grown(codec)[1] == grown(codec)[1]


@pytest.mark.parametrize("budget", [1, 30, 120])
def test_a_tree_at_its_budget_stops_growing_and_ends_truncated_or_along_what_is_there(codec, budget):
    seat, steps = grown(codec, simulations=50, budget=budget)
    most = 2 * 2 + 2 * 2 * 14  # one expansion: two steps, two completions of each
    assert seat.tokens < budget + most
    [final] = [t for t in steps if t.final]
    below = children_of(steps)
    assert final.id not in below
    assert final.status == ("finished" if "####" in final.text else "truncated")
    if budget == 1:
        assert (len(steps), final.status) == (2, "truncated")


def test_a_leaf_is_expanded_per_simulation_where_that_is_asked(codec):
    _, steps = grown(codec, simulations=1, root_factor=5, expand="leaf", value=_Zero(), breadth=2)
    assert max(int(t.keys["depth"]) for t in steps) == 4  # the search moves on until the reply has ended
    _, few = grown(codec, simulations=1, root_factor=1, expand="leaf", value=_Zero())
    _, many = grown(codec, simulations=1, root_factor=1, expand="path", value=_Zero())
    assert [t.text for t in few] == [t.text for t in many]  # one simulation a move comes to the same
    _, deep = grown(codec, simulations=4, root_factor=1, expand="path", value=_Zero())
    _, wide = grown(codec, simulations=4, root_factor=1, expand="leaf", value=_Zero())
    assert len(wide) <= len(deep)


def test_a_full_context_ends_the_line(codec):
    seat = Bits(type(codec)(limit=len(codec.open([Message("user", TASK.vars["question"])])) + 3))
    _, steps = grown(codec, seat, value=_Zero())
    [final] = [t for t in steps if t.final]
    assert final.status == "truncated"


def test_puct_and_priors_are_those_of_the_formula():
    tree = Tree(_Zero(), c_puct=2.0, length_penalty=1.25)
    turn = Turn("policy", "", (1, 2, 3, 4), (-0.1, -0.2, -0.3, -0.4))
    assert tree.prior(turn, 2) == pytest.approx(math.exp(-1.0 / 4**1.25))
    assert tree.prior(Turn("policy", "", ()), 4) == 0.25
    node = Node(None, N=3, Q=0.5, prior=0.2)  # type: ignore[arg-type]
    assert tree.puct(node, 9) == pytest.approx(0.5 + 2.0 * 0.2 * 3 / 4)


def test_an_engine_without_log_probs_gives_equal_priors(codec):
    _, steps = grown(codec, Bits(codec, logprobs=False))
    assert sum(t.final for t in steps) == 1


@pytest.mark.parametrize(
    "bad", [{"simulations": 0}, {"breadth": 0}, {"depth": 0}, {"budget": 0}, {"expand": "all"}, {"stop": ()}, {"root_breadth": 0}]
)
def test_trees_that_cannot_be_are_refused(bad):
    with pytest.raises(UserError, match=r"rollouts\.Tree"):
        Tree(_Zero(), **bad)


# what a node is worth


def place(codec, *texts, ended=False, depth=1, above=0.25):
    seat = Bits(codec, ones=1.1)
    talk = seat.open(TASK)
    for text in texts:
        talk._append(Turn("policy", text, codec.fragment(text), finish="stop"), codec.fragment(text))
    return Place(talk, TASK, seat, ended, depth, above)


def test_monte_carlo_is_the_share_of_completions_that_are_right(codec):
    worth = asyncio.run(MonteCarlo(Exact(), samples=3)(place(codec, "1\n"), Ctx()))
    assert worth.value == 1.0
    assert worth.cost.discarded_tokens == 3 * (len(codec.fragment("1\n1\n#### 3")) + 1)
    assert worth.cost.generated_tokens == 0
    assert asyncio.run(MonteCarlo(Exact())(place(codec, "0\n"), Ctx())).value == 0.0
    done = asyncio.run(MonteCarlo(Exact())(place(codec, "1\n", "#### 3", ended=True), Ctx()))
    assert (done.value, done.cost.discarded_tokens) == (1.0, 0)


def test_a_verifier_without_a_verdict_is_an_error_not_a_zero(codec):
    nameless = Place(place(codec, "1\n").talk, Task({"question": "?"}), Bits(codec), True, 1, 0.0)
    unknown = nameless.talk._task
    assert unknown.answer == "3"
    nameless.talk._task = Task({"question": "?"})
    with pytest.raises(ValueError, match="no reward"):
        asyncio.run(MonteCarlo(Exact())(nameless, Ctx()))


def test_self_evaluation_adds_the_chances_of_its_words(codec):
    ctx, at = Ctx(), place(codec, "1\n", "2\n")
    assert asyncio.run(SelfEvaluation("judge", ["A", "B!"])(at, ctx)).value == pytest.approx(0.5 + 0.25)
    assert at.seat.seen[-1] == ("judge", {"response": "1\n2\n", "answer": "3"})
    assert [bytes(tokens).decode() for _, tokens in ctx.asked] == ["A", "B!"]
    with pytest.raises(UserError, match="begins another"):
        SelfEvaluation("judge", ["yes", "yes!"])


class _Says:
    def __init__(self, value):
        self.value = value

    async def __call__(self, place, ctx):
        return Worth(self.value)


@pytest.mark.parametrize(
    "c, depth, ended, text, expected",
    [
        (0.8, 1, False, "1\n", 0.8),
        (0.8, 6, False, "1\n", 0.4),
        (0.8, 4, True, "#### 3", 1.8),
        (0.8, 1, True, "#### 2", -0.2),
        (0.0, 1, False, "1\n", 0.25),
    ],
)
def test_a_step_is_worth_confidence_plus_outcome(codec, c, depth, ended, text, expected):
    judge = StepValue({"said": _Says(c)}, Exact())
    assert asyncio.run(judge(place(codec, text, ended=ended, depth=depth), Ctx())).value == pytest.approx(expected)


def test_a_confidence_of_nothing_is_inherited_or_not(codec):
    at = place(codec, "1\n")
    assert asyncio.run(StepValue({"said": _Says(0.0)}, Exact(), inherit=False)(at, Ctx())).value == 0.0
    assert asyncio.run(StepValue({"a": _Says(0.0), "b": _Says(0.5)}, Exact())(at, Ctx())).value == 0.25
    with pytest.raises(UserError, match="no judge"):
        StepValue({}, Exact())


def test_a_reply_in_pieces_is_judged_as_one():
    pieces = (Turn("policy", "a"), Turn("env", "?"), Turn("policy", "b\n"), Turn("policy", "c"))
    assert Trajectory("t", TASK, "solver", "p@0", pieces, "e").text == "b\nc"
    assert Trajectory("t", TASK, "solver", "p@0", pieces[:2], "e").text == "a"
    assert Trajectory("t", TASK, "solver", "p@0", (Turn("data", "x"), Turn("data", "y")), "e").text == "y"


def test_random_trees_never_lose_a_step(codec):
    rng = random.Random(3)
    for _ in range(10):
        settings = {
            "breadth": rng.randint(1, 3),
            "depth": rng.randint(1, 3),
            "simulations": rng.randint(1, 5),
            "budget": rng.choice([None, 50, 200]),
        }
        seat, steps = grown(codec, expand=rng.choice(["path", "leaf"]), **settings)
        assert sum(t.final for t in steps) == 1
        assert sum(t.cost.generated_tokens + t.cost.discarded_tokens for t in steps) == seat.tokens
