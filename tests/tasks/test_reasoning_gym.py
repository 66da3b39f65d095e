"""ReasoningGym: items of different seeds do not coincide, grading is strict, settings are checked."""

from __future__ import annotations

import json
import random

import pytest

from selfevo.errors import UserError
from selfevo.tasks.reasoning_gym import ReasoningGym

reasoning_gym = pytest.importorskip("reasoning_gym")


def questions(source: ReasoningGym) -> set[str]:
    return {str(task.vars["question"]) for task in source}


def test_neighbouring_seeds_share_no_items_although_the_package_shares_all_but_one():
    theirs = [{x["question"] for x in reasoning_gym.create_dataset("chain_sum", seed=s, size=100)} for s in (42, 43)]
    assert len(theirs[0] & theirs[1]) == 99
    ours = [questions(ReasoningGym("chain_sum", size=100, seed=s, config={"min_digits": 4, "min_terms": 4})) for s in (42, 43)]
    assert [len(q) for q in ours] == [100, 100] and not ours[0] & ours[1]


@pytest.mark.parametrize("name", ["chain_sum", "countdown", "list_functions", "acre", "gsm_symbolic", "graph_color"])
def test_an_item_depends_on_its_seed_only(name):
    source = ReasoningGym(name)
    forward = [source.task(s) for s in (7, 8, 9)]
    random.seed(123)
    other = ReasoningGym(name)
    assert [other.task(s) for s in (9, 8, 7)][::-1] == forward
    assert len({task.id for task in forward}) == 3


def test_global_random_state_is_left_as_it_was():
    import numpy as np

    source = ReasoningGym("pool_matrix")  # seeds NumPy's global state at every item
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.random()
    random.seed(5)
    np.random.seed(5)
    source.task(1)
    assert (random.random(), np.random.random()) == expected


def test_the_gold_answer_scores_one_and_near_misses_score_zero():
    source = ReasoningGym("chain_sum", size=3)
    task = source[0]
    assert source.grade(task, task.answer) == 1.0
    padded = f"1{task.answer}"  # contains the answer: the package's own scorer pays for it
    assert ReasoningGym("chain_sum", size=3, strict=False).grade(task, padded) > 0.5
    assert source.grade(task, padded) == 0.0 and source.grade(task, None) == 0.0


def test_grading_survives_a_round_trip_through_json():
    source = ReasoningGym("graph_color")
    task = source.task(3)
    entry = source.entry(3)
    colours = json.dumps({str(k): v for k, v in entry["metadata"]["possible_answer"].items()})
    kept = json.loads(json.dumps(dict(task.vars)))
    assert task.answer is None and kept == dict(task.vars)
    assert source.grade(task, colours) == 1.0 and source.grade(task, "{}") == 0.0


def test_equal_questions_have_equal_ids_whatever_seed_drew_them():
    source = ReasoningGym("chain_sum", config={"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    tasks = [source.task(s) for s in range(300)]
    by_question: dict[str, set[str]] = {}
    for task in tasks:
        by_question.setdefault(str(task.vars["question"]), set()).add(task.id)
    assert len(by_question) < 300 and all(len(ids) == 1 for ids in by_question.values())


def test_levels_come_from_the_package_s_curriculum():
    source, rng = ReasoningGym("chain_sum", levels=(0, 3)), random.Random(0)
    assert source.levels == (0.0, 3.0)
    lengths = [sum(len(str(source.draw(rng, None, level).vars["question"])) for _ in range(20)) for level in source.levels]
    assert lengths[1] > lengths[0]
    assert source.grade(source.draw(rng, None, 3.0), "no") == 0.0
    finite = ReasoningGym("chain_sum", size=6, levels=(0, 3))
    assert [task.difficulty for task in finite] == [0.0, 3.0] * 3
    assert {finite.draw(rng, None, 3.0).difficulty for _ in range(5)} == {3.0}


@pytest.mark.parametrize("source, words", [
    (ReasoningGym("chain_sun"), "did you mean 'chain_sum'"),
    (ReasoningGym("chain_sum", config={"min_term": 3}), "unknown setting 'min_term'; did you mean 'min_terms'"),
    (ReasoningGym("chain_sum", config={"seed": 3}), "unknown setting 'seed'"),
    (ReasoningGym("chain_sum", config={"min_terms": 9, "max_terms": 3}), "max_terms must be >= min_terms"),
    (ReasoningGym("chain_sum", config={"min_terms": "nine"}), "is refused"),
    (ReasoningGym("chain_sum", levels=(99,)), "level 99 is not among 0.."),
])  # fmt: skip
def test_bad_settings_are_one_line(source, words):
    with pytest.raises(UserError, match=words) as caught:
        source.draw(random.Random(0))
    assert "\n" not in str(caught.value)


def test_an_endless_source_has_no_length_and_a_wrong_task_cannot_be_graded():
    source = ReasoningGym("chain_sum")
    with pytest.raises(TypeError, match="endless"):
        len(source)
    with pytest.raises(ValueError, match="is not from"):
        source.grade(ReasoningGym("countdown").task(1), "1")
    with pytest.raises(UserError, match="no task of category sorting"):
        source.draw(random.Random(0), "sorting")
