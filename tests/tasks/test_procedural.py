"""The procedural families: gold solutions are right by independent evaluation, levels and ranges are respected, draws repeat."""

from __future__ import annotations

import itertools
import random
import re

import pytest

from selfevo.errors import UserError
from selfevo.tasks import ChainSum, Countdown, Operators, Procedural, Sorting
from selfevo.tasks.countdown import folds, worked, written
from selfevo.tasks.operators import RULES, stated

FAMILIES: list[Procedural] = [ChainSum(), Countdown(), Sorting(), Operators(levels=(1, 2, 3))]
each_family = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def tasks(family: Procedural, n: int = 40, seed: int = 0):
    rng = random.Random(seed)
    return [family.draw(rng, level=level) for level in family.levels for _ in range(n)]


def true_line(line: str) -> bool:
    """Whether `left=right` is true arithmetic, read by Python's own grammar."""
    left, right = line.split("=")
    assert re.fullmatch(r"[\d+*()-]+", left)
    return eval(left, {"__builtins__": {}}) == int(right)


@each_family
def test_gold_ends_in_the_answer(family):
    for task in tasks(family):
        assert family.gold(task).splitlines()[-1] == f"#### {task.answer}"


@each_family
def test_equal_generators_draw_equal_tasks(family):
    assert tasks(family, seed=3) == tasks(family, seed=3)
    assert tasks(family, seed=3) != tasks(family, seed=4)


@each_family
def test_draw_leaves_the_global_generator_alone(family):
    random.seed(11)
    expected = random.random()
    random.seed(11)
    family.draw(random.Random(0))
    assert random.random() == expected


@each_family
def test_equal_questions_have_equal_ids(family):
    seen = {}
    for task in tasks(family, n=300):
        assert seen.setdefault(task.vars["question"], task.id) == task.id
    assert len(set(seen.values())) == len(seen)


@each_family
def test_level_category_and_origin_are_on_the_task(family):
    for task in tasks(family, n=3):
        assert task.difficulty == task.vars["level"]
        assert task.category == task.vars["category"] == task.lineage.origin == family.name
    drawn = {family.draw(random.Random(i)).difficulty for i in range(200)}
    assert drawn == set(family.levels)


@each_family
def test_parse_reads_back_what_was_asked(family):
    for task in tasks(family):
        assert family.parse(task.vars["question"]) == task


@each_family
@pytest.mark.parametrize("text", ["", "hello", "1+=?", "make 5 from", "sort", "sort 1 x 2", "7@=?", "7@4&2=?", "1+2", "95+7=?", "3-4=?"])
def test_parse_refuses_what_is_not_a_question(family, text):
    assert family.parse(text) is None


@each_family
def test_full_wording_asks_the_same_with_another_id(family):
    terse = family.draw(random.Random(5))
    full = type(family)(levels=[int(x) for x in family.levels], wording="full").draw(random.Random(5))
    assert full.answer == terse.answer
    assert full.id != terse.id
    assert full.vars["question"].endswith(".")


def test_chain_sum_totals_stay_in_range_and_steps_are_true():
    family = ChainSum()
    for task in tasks(family):
        steps = family.steps(task)
        assert len(steps) == task.difficulty
        assert all(true_line(step) for step in steps)
        assert all(0 <= int(step.split("=")[1]) <= 99 for step in steps)
        assert eval(task.vars["expression"]) == int(task.answer)
        assert task.vars["question"] == f"{task.vars['expression']}=?"


def test_chain_sum_keeps_operands_below_largest():
    for task in tasks(ChainSum(largest=7)):
        assert all(1 <= int(number) <= 7 for number in re.findall(r"[+-](\d+)", task.vars["expression"]))


def test_chain_sum_level_one_has_7450_tasks():
    family = ChainSum()
    every = {f"{a}{sign}{b}=?" for a in range(100) for sign in "+-" for b in range(1, 51)}
    assert sum(family.parse(question) is not None for question in every) == 7450


def test_countdown_answer_uses_every_number_once_and_reaches_the_target():
    family = Countdown()
    for task in tasks(family):
        assert eval(task.answer, {"__builtins__": {}}) == task.vars["target"]
        assert sorted(map(int, re.findall(r"\d+", task.answer))) == task.vars["numbers"]
        assert len(task.vars["numbers"]) == task.difficulty + 1
        assert all(true_line(step) for step in family.steps(task))


def test_countdown_folds_agree_with_brute_force():
    numbers, target = [2, 3, 3, 7], 24
    found = {written(fold) for fold in folds(numbers, target)}
    expected = set()
    for order in set(itertools.permutations(numbers)):
        for signs in itertools.product("+-*", repeat=3):
            totals = [order[0]]
            for sign, number in zip(signs, order[1:], strict=True):
                totals.append(eval(f"({totals[-1]}){sign}{number}"))
            if totals[-1] == target and all(0 <= total <= 99 for total in totals):
                expected.add(written((order[0], tuple(zip(signs, order[1:], strict=True)))))
    assert found == expected
    assert all(eval(text) == target for text in found)


def test_countdown_parse_refuses_a_target_out_of_reach():
    assert Countdown().parse("make 99 from 1 2") is None
    assert Countdown().parse("make 3 from 1 2") is not None


def test_fold_is_written_with_the_parentheses_it_needs():
    assert written((3, (("+", 5), ("*", 8)))) == "(3+5)*8"
    assert written((3, (("*", 5), ("*", 8), ("-", 1)))) == "3*5*8-1"
    assert worked((3, (("+", 5), ("*", 8)))) == ["3+5=8", "8*8=64"]


def test_sorting_inserts_one_item_a_line():
    family = Sorting()
    for task in tasks(family):
        items = task.vars["items"]
        assert len(items) == task.difficulty + 2
        assert family.steps(task) == [" ".join(map(str, sorted(items[: i + 1]))) for i in range(len(items))]


def test_operator_steps_follow_the_stated_rule():
    family = Operators(levels=(1, 2, 3), world=None)
    for task in tasks(family):
        body = task.vars["rule"].split("=")[1]
        total = task.vars["numbers"][0]
        for number in task.vars["numbers"][1:]:
            total = eval(re.sub(r"(\d)([ab])", r"\1*\2", body), {"a": total, "b": number})
        assert str(total) == task.answer
        assert total <= 99
        assert family.steps(task)[0] == task.vars["rule"]
        assert all(true_line(step) for step in family.steps(task)[1:])


def test_operator_symbols_mean_different_things_and_always_the_same():
    family = Operators()
    rules = [family.rule(symbol) for symbol in family.symbols]
    assert len(set(rules)) == 6
    for task in tasks(family):
        assert task.vars["rule"] == stated(task.vars["symbol"], family.rule(task.vars["symbol"]))
    assert [Operators(world=1).rule(symbol) for symbol in family.symbols] != rules


def test_operator_question_alone_does_not_tell_the_answer():
    answers = {rule: 7 * rule[0] + 4 * rule[1] for rule in RULES}
    assert len(set(answers.values())) == len(RULES) == 9
    rng = random.Random(0)
    free = [Operators(levels=(1,), world=None).draw(rng) for _ in range(4000)]
    by_question: dict[str, set[str]] = {}
    for task in free:
        by_question.setdefault(task.vars["question"], set()).add(task.answer)
    assert max(map(len, by_question.values())) > 3


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ChainSum(levels=[0]), "chain_sum: level 0 is not a whole number from 1 to 99"),
        (lambda: ChainSum(levels=[]), "`levels` must be a list"),
        (lambda: ChainSum(levels=[1.5]), "level 1.5 is not a whole number"),
        (lambda: ChainSum(largest=100), "`largest` must lie in 1..99, got 100"),
        (lambda: Countdown(levels=[5]), "countdown: level 5 is not a whole number from 1 to 4"),
        (lambda: Countdown(largest=1), "`largest` must lie in 2..99"),
        (lambda: Sorting(wording="ful"), "did you mean 'full'?"),
        (lambda: Operators(symbols="@#"), "`symbols` must be some of"),
        (lambda: Operators(world=None).rule("@"), "without a `world`"),
        (lambda: ChainSum().draw(random.Random(0), level=9), "chain_sum: no level 9 (levels: 1, 2, 3, 4, 5, 6)"),
        (lambda: ChainSum().draw(random.Random(0), category="chain_sums"), "did you mean 'chain_sum'?"),
    ],
)
def test_mistakes_are_one_line(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
