"""MM-UPT (arXiv:2505.22453): the majority as label, against the reference and against its released code."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest
import torch
from learner_bench import tiny_policy
from method_bench import Named, Plain, columns, gradient, scored, slope
from real_runs import run_in

from selfevo.advantages import GroupNorm
from selfevo.objectives import KL, ClippedRatio
from selfevo.records import Row, Task, Trajectory, Turn
from selfevo.verifiers import Exact, Majority, verify

RELEASED = {"vote": "text", "equal": "value", "missing": "votes"}
NORM = GroupNorm(std="sample", eps=1e-6)


class Ctx:
    name = "majority"

    def value(self, number):
        return float(number)


def group(texts, answer=None):
    task = Task({"question": "q"}, answer)
    made = enumerate(texts)
    return [Row.of(Trajectory(f"t{i}", task, "solver", "solver@0", (Turn("policy", t),), f"e{i}")) for i, t in made]


def rewards(answers, **settings):
    rows = Majority(**settings)(group(["" if a is None else f"#### {a}" for a in answers]), Ctx())
    return [row.reward("majority") for row in rows]


def released(answers):
    """What the released reward does: the most common string, no answer included, then equality in value."""
    label = Counter(answers).most_common(1)[0][0]
    values = {"1/2": 0.5, "0.5": 0.5, "50%": 0.5}
    return [float(values.get(a, a) == values.get(label, label)) for a in answers]


def test_a_missing_answer_is_left_out_or_wins_as_in_the_released_code():
    answers = [None, None, None, "4", "4", "5"]
    assert rewards(answers) == [0, 0, 0, 1, 1, 0]
    assert rewards(answers, **RELEASED) == released(answers) == [1, 1, 1, 0, 0, 0]


def test_spellings_are_one_answer_or_split_the_vote_as_in_the_released_code():
    answers = ["3", "1/2", "0.5", "3", "50%"]
    assert rewards(answers, vote="value", equal="value") == [0, 1, 1, 0, 1]
    assert rewards(answers, **RELEASED) == released(answers) == [1, 0, 0, 1, 0]
    assert rewards(["1/2", "0.5", "1/2", "3"], **RELEASED) == [1, 1, 1, 0]  # counted as text, graded by value
    assert rewards(["1/2", "0.5", "1/2", "3"]) == [1, 0, 1, 0]


def test_the_released_rule_on_every_group_of_four():
    for answers in itertools.product([None, "1/2", "0.5", "7"], repeat=4):
        assert rewards(answers, **RELEASED) == released(answers)


def test_an_empty_majority_is_an_abstention_and_a_group_of_one_learns_nothing():
    assert rewards([None, None]) == [None, None]
    assert rewards([None, None], **RELEASED) == [1.0, 1.0]  # full agreement on no answer: no advantage either
    samples, rows = scored({"g": rewards(["4"])})
    assert columns(NORM, samples, rows) == [0.0]


def test_labels_equal_to_the_references_give_supervised_rewards_and_gradients_bit_for_bit():
    policy, given = tiny_policy(dtype=torch.float64), {}
    for part in ("exact", "majority"):
        groups = {}
        for name, answers, reference in (("a", (4, 5, 4, 4, 6, None), "4"), ("b", (7, 7, 1), "7"), ("c", (2, 2), "2")):
            rows = group(["no idea" if a is None else f"#### {a}" for a in answers], reference)
            judged = verify({"exact": Exact(), "majority": Majority()}, rows, named)
            groups[name] = [row.reward(part) for row in judged]
        samples, rows = scored(groups, policy)
        terms = {"pg": ClippedRatio("outcome", dual_clip=3.0)}
        given[part] = gradient(samples, rows, terms, {"outcome": NORM}, tiny_policy(dtype=torch.float64))
    assert torch.equal(given["exact"], given["majority"]) and given["exact"].abs().max() > 0


def named(name):
    ctx = Ctx()
    ctx.name = name
    return ctx


def test_permuting_a_group_permutes_its_advantages():
    answers = ["4", "5", None, "4", "6", "4", "5"]
    order = random.Random(1).sample(range(7), 7)

    def advantages(answers):
        samples, rows = scored({"g": rewards(answers)})
        return columns(NORM, samples, rows)

    plain = advantages(answers)
    assert advantages([answers[i] for i in order]) == [plain[i] for i in order]


def test_the_advantage_is_the_documented_one():
    samples, rows = scored({"g": rewards(["4", "4", "4", "5", "6"])})
    r = torch.tensor([1.0, 1, 1, 0, 0], dtype=torch.float64)
    assert columns(NORM, samples, rows) == pytest.approx(((r - r.mean()) / (r.std() + 1e-6)).tolist())


def test_full_agreement_leaves_exactly_the_kl_term():
    ref, terms = {"kl": KL(to="solver@base", coef=0.01)}, {"pg": ClippedRatio("outcome", old="sampler", dual_clip=3.0)}
    policy, base = tiny_policy(dtype=torch.float64), tiny_policy(seed=5, dtype=torch.float64)
    samples, rows = scored({"a": rewards(["4"] * 4), "b": rewards(["7"] * 3)}, policy)
    ctx = Named({"solver@base": base})
    both = gradient(samples, rows, terms | ref, {"outcome": NORM}, tiny_policy(dtype=torch.float64), ctx)
    alone = gradient(samples, rows, ref, None, tiny_policy(dtype=torch.float64), ctx)
    assert torch.equal(both, alone) and both.abs().max() > 0


def test_the_dual_clip_bounds_the_loss_of_bad_answers_only():
    log_ratio = torch.tensor([[-1.0, 0.1, 1.0, 2.0], [-1.0, 0.1, 1.0, 2.0]])
    term = ClippedRatio("A", old="old", low=0.2, high=0.3, dual_clip=3.0)
    batch = Plain(log_ratio, columns={"A": [2.0, -2.0]}, **{"logp:old": torch.zeros(2, 4)})
    r, A = log_ratio.double().exp(), torch.tensor([[2.0], [-2.0]], dtype=torch.float64)
    worse = torch.maximum(-A * r, -A * r.clamp(0.8, 1.3))
    expected = torch.where(A < 0, torch.minimum(worse, -A * 3.0), worse)
    assert torch.allclose(term.loss(batch, {}), expected)
    assert slope(term, batch)[1, 3] == 0 and slope(term, batch)[1, 2] != 0  # e^2 is beyond 3, e is not


@pytest.mark.slow
def test_a_run_goes_on_where_no_group_has_a_majority_or_nothing_to_compare(tmp_path):
    """Replies too short to hold an answer: every row abstains, nothing is learned, no version is made. Groups of one: the vote is the
    answer's own, every advantage is 0."""
    quick = ["experiment=tiny/mm_upt", "scale=tiny", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]"]
    mute = run_in(tmp_path / "mute", [*quick, "scale.max_tokens=2"])
    assert mute.metric("score", "score/majority_abstained") == [16.0, 16.0]
    assert mute.metric("train", "train/samples") == [0.0, 0.0] and len(mute.run.world.lineages.versions["solver"]) == 1
    alone = run_in(tmp_path / "alone", [*quick, "scale.group=1", "optimizer.objective.kl=null"])
    assert alone.metric("train", "train/skipped") == alone.metric("train", "train/samples")
    assert len(alone.run.world.lineages.versions["solver"]) == 1


@pytest.mark.slow
def test_where_the_majority_is_mostly_wrong_accuracy_does_not_rise(tmp_path):
    """Operators whose rule is not known are guessed among nine: about one answer in ten is right."""
    sizes = ["scale.iterations=10", "scale.group=8", "scale.tasks=12", "scale.eval_every=10", "scale.eval_tasks=64", "scale.eval_samples=4"]
    run = run_in(tmp_path / "run", ["experiment=tiny/mm_upt", "task=operators", "task.levels=[1,2]", "eval=operators", *sizes])
    first, last = run.metric("evaluate", "eval/operators/pass@1")
    share = run.metric("score", "score/majority")
    assert first < 0.2 and last < first + 0.05
    assert share[-1] > share[0]  # it does learn to agree
