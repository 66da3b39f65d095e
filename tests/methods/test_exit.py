"""ExIt (arXiv:2509.04575): the buffer of starting points, its priorities, and the bonus for unlike replies."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
import torch
from method_bench import Named, scored
from real_runs import run_in

from selfevo.advantages import Diversity, GroupNorm
from selfevo.context import StageCtx
from selfevo.curricula import TaskSpace, Uniform
from selfevo.errors import UserError
from selfevo.records import Row, Trajectory, Turn
from selfevo.tasks import ChainSum
from selfevo.world import World


@pytest.fixture
def at(tmp_path):
    """`at(iteration)`: a stage's context."""
    world = World(0, 10, {}, {}, tmp_path)
    return lambda iteration=0, name="curriculum": StageCtx(world, f"main.{iteration}", "rollout", iteration, name=name)


def space(**settings):
    return TaskSpace(ChainSum([1, 2, 3]), **{"p_iter": 1.0, "feedback": "wrong", "diverge": "diverge", **settings})


def base(i=0):
    """The i-th base task."""
    import random

    return ChainSum([2]).draw(random.Random(i))


def wrote(task, rewards, name="t", texts=None, feedback=None):
    """A group on one task: a row per reward, each with a text of its own."""
    rows = []
    for i, reward in enumerate(rewards):
        text = texts[i] if texts else f"{name} try {i}"
        t = Trajectory(f"{name}.{i}", task, "solver", "solver@0", (Turn("policy", text),), f"e{i}", {"group": name})
        row = Row.of(t)
        rows.append(row.failed("score", "error", "x") if reward is None else row.rewarded("score", reward, feedback=feedback))
    return rows


def priorities(curriculum):
    return {key: s.priority for key, s in curriculum._states.items()}


def test_without_iteration_the_tasks_are_those_of_uniform(at):
    ours = space(p_iter=0.0)
    ours.update(wrote(base(), [1, 0]), at())
    for i in range(3):
        assert ours.sample(16, at(i)) == Uniform(ChainSum([1, 2, 3])).sample(16, at(i))


@pytest.mark.parametrize("rewards", [[1, 0, 0, 0], [1, 1, 0, 0], [0.2, 0.9, 0.4]])
def test_learnability_is_the_variance_of_the_groups_rewards(at, rewards):
    ours = space()
    ours.update(wrote(base(), rewards), at())
    mean = sum(rewards) / len(rewards)
    variance = sum((r - mean) ** 2 for r in rewards) / len(rewards)
    assert list(priorities(ours).values()) == pytest.approx([variance] * len(rewards))
    if set(rewards) <= {0, 1}:
        assert next(iter(priorities(ours).values())) == pytest.approx(mean * (1 - mean))


def test_a_start_whose_rewards_are_all_equal_is_never_drawn_while_others_exist(at):
    for order in ("value", "rank"):
        ours = space(order=order)
        ours.update(wrote(base(0), [1, 1, 1], "same") + wrote(base(1), [1, 0], "mixed") + wrote(base(2), [0, 0], "none"), at())
        drawn = {t.lineage.parent for i in range(50) for t in ours.sample(1, at(i))}
        assert drawn == {"mixed.0", "mixed.1"}
    only = space()
    only.update(wrote(base(0), [1, 1], "same"), at())
    assert {t.lineage.parent for i in range(30) for t in only.sample(1, at(i))} == {"same.0", "same.1"}  # nothing else: uniform


def test_starts_are_drawn_in_proportion_to_value_or_inverse_rank(at):
    for order, expected in (("value", 0.25 / (0.25 + 0.1875)), ("rank", 1 / (1 + 1 / 2))):
        ours = space(order=order)
        ours.update(wrote(base(0), [1, 0], "half", ["a", "a"]) + wrote(base(1), [1, 0, 0, 0], "quarter", ["b"] * 4), at())
        assert len(ours._states) == 2  # equal solutions are one start
        counts = Counter(ours.sample(1, at(i))[0].lineage.parent for i in range(2000))
        assert counts["half.0"] / 2000 == pytest.approx(expected, abs=4 * math.sqrt(0.25 / 2000))


def test_a_stored_start_shows_the_last_attempt_and_asks_to_improve_it(at):
    ours, root = space(p_div=0.0), base()
    ours.update(wrote(root, [1, 0], feedback=None), at())
    task = ours.sample(1, at(1))[0]
    assert task.prompt == "revise" and task.vars["question"] == root.vars["question"] and task.answer == root.answer
    assert task.vars["feedback"] == "wrong" and task.vars["response"].startswith("t try") and task.vars["root"] == root.id
    ours.update(wrote(task, [1, 0], "child", feedback="step 2 wrong"), at(1))
    child = ours._states["child.0"].task
    assert child.vars["depth"] == 2 and child.vars["root"] == root.id and child.lineage.parent == "child.0"
    assert child.vars["response"] == "child try 0" and child.vars["feedback"] == "step 2 wrong"  # the score's own
    assert len({root.id, task.id, child.id}) == 3


def test_replay_refreshes_a_stale_priority_and_children_begin_with_their_parents(at):
    ours = space()
    ours.update(wrote(base(), [1, 0], "a"), at())
    task = ours._states["a.1"].task
    ours.update(wrote(task, [1, 1, 1, 0], "b"), at(1))
    found = priorities(ours)
    assert found["a.0"] == 0.25 and found["a.1"] == pytest.approx(3 / 16) and found["b.2"] == pytest.approx(3 / 16)


def test_two_groups_on_one_start_are_not_pooled(at):
    ours = space()
    ours.update(wrote(base(), [1, 1], "a") + wrote(base(), [0, 0], "b"), at())
    assert set(priorities(ours).values()) == {0.0}  # pooled they would be 1/4


def test_diverge_with_its_probability_and_the_row_still_finds_its_start(at):
    ours = space(p_div=0.25)
    ours.update(wrote(base(), [1, 0], "a"), at())
    drawn = [ours.sample(1, at(i))[0] for i in range(1000)]
    assert Counter(t.prompt for t in drawn)["diverge"] / 1000 == pytest.approx(0.25, abs=4 * math.sqrt(0.1875 / 1000))
    other = next(t for t in drawn if t.prompt == "diverge")
    assert other.id != ours._states[other.lineage.parent].task.id
    ours.update(wrote(other, [1, 1], "b"), at())
    assert priorities(ours)[other.lineage.parent] == 0.0


def test_iteration_has_its_probability_once_enough_is_held(at):
    ours = space(p_iter=0.3, least=3)
    ours.update(wrote(base(), [1, 0]), at())
    assert all(not t.prompt for t in ours.sample(50, at()))
    ours.update(wrote(base(1), [1, 0], "u"), at())
    share = sum(bool(t.prompt) for i in range(500) for t in ours.sample(2, at(i))) / 1000
    assert share == pytest.approx(0.3, abs=4 * math.sqrt(0.21 / 1000))


def test_the_lowest_leave_when_it_is_full_and_each_root_has_a_cap(at):
    ours = space(capacity=5, per_root=3)
    ours.update(wrote(base(0), [1, 0, 0, 0], "low") + wrote(base(1), [1, 1, 0, 0], "high") + wrote(base(2), [1] * 4, "zero"), at())
    kept = Counter(key.split(".")[0] for key in ours._states)
    assert kept == {"high": 3, "low": 2}
    assert list(ours._states) == ["low.2", "low.3", "high.1", "high.2", "high.3"]  # among equals the oldest left


def test_depth_is_bounded_and_rows_that_failed_leave_nothing(at):
    ours = space(depth=1)
    ours.update(wrote(base(), [1, None, 0], "a"), at())
    assert set(ours._states) == {"a.0", "a.2"}
    ours.update(wrote(ours._states["a.0"].task, [1, 0], "b"), at())
    assert set(ours._states) == {"a.0", "a.2"}


def test_a_group_of_one_has_no_variance(at):
    ours = space()
    ours.update(wrote(base(), [1]), at())
    assert list(priorities(ours).values()) == [0.0]


def test_the_state_goes_through_json_and_goes_on_as_before(at):
    one, other = space(p_div=0.5), space(p_div=0.5)
    one.update(wrote(base(0), [1, 0], "a") + wrote(base(1), [1, 0, 0], "b"), at())
    other.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert one.sample(8, at(1)) == other.sample(8, at(1))
    for c in (one, other):
        c.update(wrote(c._states["a.0"].task, [1, 1, 0], "c"), at(1))
    assert one.state_dict() == other.state_dict()
    with pytest.raises(ValueError, match="TaskSpace"):
        one.load_state_dict({"tasks": []})


@pytest.mark.parametrize(
    "settings",
    [{"p_iter": 1.2}, {"p_div": -0.1}, {"capacity": 0}, {"per_root": 0}, {"depth": 0}, {"order": "sum"}, {"p_div": 0.1, "diverge": None}],
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        space(**settings)


# -- the bonus -----------------------------------------------------------------------------------------------------------------


def bonus(texts, rewards, **settings):
    """(advantages, scaled advantages) of one group."""
    samples, rows = scored({"g": rewards})
    rows = [Row(with_text(r.trajectory, t), r.score) for r, t in zip(rows, texts, strict=True)]
    plain = GroupNorm()(samples, rows, Named())
    samples = [s.with_columns(outcome=a) for s, a in zip(samples, plain, strict=True)]
    return plain, Diversity(**settings)(samples, rows, Named())


def with_text(trajectory, text):
    from dataclasses import replace

    return replace(trajectory, turns=(replace(trajectory.turns[0], text=text),))


def test_equal_replies_leave_every_advantage_alone():
    plain, scaled = bonus(["abc abc"] * 4, [1, 0, 0, 1])
    assert scaled == plain
    assert bonus(["x"], [1]) == ([0.0], [0.0])  # a group of one


def test_unlike_replies_gain_and_negative_advantages_are_left():
    plain, scaled = bonus(["27+5=32", "27+5=32", "sort it out", "27+5=31"], [1, 0, 1, 0])
    assert scaled[2] == plain[2] > scaled[0] > 0  # the farthest has d = 1
    assert scaled[1] == plain[1] and scaled[3] == plain[3]
    _, every = bonus(["27+5=32", "27+5=32", "sort it out", "27+5=31"], [1, 0, 1, 0], scale="all")
    assert every[1] == pytest.approx(plain[1] * scaled[0] / plain[0]) and every[0] == scaled[0]


def test_the_distance_is_that_of_the_formula():
    texts, n = ["abab", "abba", "bbbb"], 2
    grams = ["ab", "ba", "bb"]
    counts = torch.tensor([[sum(t[i : i + 2] == g for i in range(3)) for g in grams] for t in texts], dtype=torch.float64)
    e = counts / counts.norm(dim=1, keepdim=True)
    d = (e - e.mean(0)).norm(dim=1)
    plain, scaled = bonus(texts, [1, 1, 0], n=n)
    assert [s / p for s, p in zip(scaled[:2], plain[:2], strict=True)] == pytest.approx((d / d.max())[:2].tolist())


def test_permuting_a_group_permutes_the_bonus():
    texts, rewards, order = ["aab", "abb", "ccc", "abc"], [1, 0, 1, 1], [2, 0, 3, 1]
    _, scaled = bonus(texts, rewards)
    _, again = bonus([texts[i] for i in order], [rewards[i] for i in order])
    assert again == [scaled[i] for i in order]


def test_a_missing_column_is_named():
    samples, rows = scored({"g": [1, 0]})
    with pytest.raises(UserError, match="no column 'outcome'"):
        Diversity()(samples, rows, Named())


@pytest.mark.slow
def test_without_iteration_and_bonus_training_is_grpo_down_to_the_weights(tmp_path):
    small = ["scale=tiny", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]"]
    off = ["curriculum.p_iter=0.0", "optimizer.objective.pg.advantage=outcome"]
    ours = run_in(tmp_path / "exit", ["experiment=tiny/exit", *small, *off])
    lr = ["optimizer.lr={linear: [1.0e-3, 1.0e-4]}", "optimizer.micro_tokens=4096", "optimizer.objective.kl=null"]
    grpo = run_in(tmp_path / "grpo", ["task=chain_sum", "optimizer=grpo", *lr, *small])
    assert all(torch.equal(ours.tensors()[name], tensor) for name, tensor in grpo.tensors().items())


@pytest.mark.slow
def test_a_stored_start_is_read_under_its_own_prompt(tmp_path):
    small = ["scale=tiny", "stages.evaluate=null", "loop.start=null", "loop.main.do=[rollout,score,train]", "scale.iterations=3"]
    run = run_in(tmp_path / "run", ["experiment=tiny/exit", "curriculum.p_iter=1.0", "curriculum.least=1", *small])
    codec = run.run.world.codec("solver")
    (first,) = {row.trajectory.task.prompt for row in run.rows("main.0", "rollout")}
    assert first == ""
    for row in run.rows("main.2", "rollout"):
        task, (turn,) = row.trajectory.task, row.trajectory.turns
        assert task.prompt == "revise" and task.vars["depth"] in (1, 2)
        context = codec.decode(turn.context)
        assert task.vars["question"] in context and task.vars["response"] in context and context.rstrip().endswith("wrong")
